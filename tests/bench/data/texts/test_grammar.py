"""Tests of the grammar: an independent parser confirms its labels.

The parser accepts more than the grammar draws (any noun phrase in any place). A sentence that it
rejects is therefore wrong under every reading.
"""

import hashlib

import pytest

from bench.data.texts.grammar import tasks
from bench.data.texts.grammar.words import (
    ADJECTIVES,
    ADVERBS,
    BEINGS,
    INTRANSITIVE,
    LEXICON,
    PLACES,
    PREPOSITIONS,
    SPECIAL,
    TRANSITIVE,
    build_vocabulary,
)

DETERMINERS = {"the": (0, 1), "this": (0,), "these": (1,), "every": (0,), "many": (1,)}


def numbers(pairs):
    """Return the grammatical number of each word form: 0 for singular, 1 for plural."""
    return {word.forms[n]: n for pair in pairs for word in pair for n in (0, 1)}


def forms(pairs):
    return {word.forms[0] for pair in pairs for word in pair}


BEING, PLACE, VT, VI = map(numbers, (BEINGS, PLACES, TRANSITIVE, INTRANSITIVE))
ADJECTIVE, PREPOSITION, ADVERB = map(forms, (ADJECTIVES, PREPOSITIONS, ADVERBS))


class Reader:
    """Parser that finds all readings of a sentence.

    Except for `acceptable`, a method returns the possible ends of a phrase that starts at word i,
    some with the phrase's number.
    """

    def __init__(self, words):
        self.words = [*words, ""]

    def acceptable(self):
        end = len(self.words) - 2
        readings = {
            k
            for j, number in self.phrase(0)
            for k in self.predicate(j, number)
            for k in (k, *self.place(k))
        }
        return end in readings and self.words[end] == "."

    def noun(self, i, nouns):
        allowed = DETERMINERS.get(self.words[i], ())
        i += 1 + (self.words[i + 1 : i + 2] != [] and self.words[i + 1] in ADJECTIVE)
        number = nouns.get(self.words[i]) if i < len(self.words) else None
        return [(i + 1, number)] if number in allowed else []

    def place(self, i):
        if self.words[i] not in PREPOSITION:
            return []
        return [j for j, _ in self.noun(i + 1, PLACE)]

    def phrase(self, i):
        found = []
        for j, number in self.noun(i, BEING):
            found.append((j, number))
            found += [(k, number) for k in self.place(j)]
            if self.words[j] == "and":
                found += [(k, 1) for k, _ in self.noun(j + 1, BEING)]
            if self.words[j] == "who":
                found += [(k, number) for k in self.predicate(j + 1, number)]
                for k, other in self.phrase(j + 1):
                    if VT.get(self.words[k]) == other:
                        found.append((k + 1, number))
        return found

    def predicate(self, i, number):
        word = self.words[i]
        found = []
        if VI.get(word) == number:
            found += [i + 1] + [i + 2] * (self.words[i + 1] in ADVERB)
        if VT.get(word) == number:
            found += [j for j, _ in self.phrase(i + 1)]
        if word == ("is", "are")[number] and self.words[i + 1] in ADJECTIVE:
            found.append(i + 2)
        return found


def everything(variant):
    parts = tasks._draw_parts(variant)
    return [text for part in parts.values() for text in part]


def test_the_parser_accepts_correct_sentences_and_rejects_wrong_ones():
    right = "the dogs who the king sees sleep . | this dog and the king are sad near many shops ."
    wrong = "the dogs who the king see sleep . | this dog and the king is sad . | dog sleeps ."
    assert all(Reader(s.split()).acceptable() for s in right.split(" | "))
    assert not any(Reader(s.split()).acceptable() for s in wrong.split(" | "))


def test_the_label_of_a_sentence_is_whether_it_is_acceptable():
    for text in everything("acceptability"):
        assert Reader(text.first.split()).acceptable() == bool(text.label), text


def meaning(sentence):
    """Return agent, verb, patient and place, each word replaced by the first of its synonyms."""
    first = {f: pair[0].forms[0] for pair in LEXICON for word in pair for f in word.forms}
    words = [w for w in sentence.split() if w != "."]
    place = ()
    if words[-3] in PREPOSITION:
        place = (first[words[-3]], thing(words[-2:], first, PLACE))
        words = words[:-3]
    if "by" in words:
        at = words.index("by")
        patient, be, verb, agent = words[:2], words[2], words[3], words[at + 1 :]
        assert be == ("is", "are")[BEING[patient[1]]]
    else:
        agent, verb, patient = words[:2], words[2], words[3:]
        assert VT[verb] == BEING[agent[1]]
    return thing(agent, first, BEING), first[verb], thing(patient, first, BEING), place


def thing(words, first, nouns):
    determiner, noun = words
    assert nouns[noun] in DETERMINERS[determiner]
    several = {"these": "this", "many": "every"}
    return several.get(determiner, determiner), first[noun], nouns[noun]


def test_the_label_of_two_sentences_is_whether_they_mean_the_same():
    for text in everything("paraphrase"):
        assert (meaning(text.first) == meaning(text.second)) == bool(text.label), text


@pytest.mark.parametrize("variant", ["acceptability", "paraphrase"])
def test_classes_are_balanced_and_no_text_is_in_two_parts_or_in_the_source_task(variant):
    parts = tasks._draw_parts(variant)
    for part in parts.values():
        assert sum(text.label for text in part) * 2 == len(part)
    written = [(t.first, t.second) for t in everything(variant)]
    assert len(set(written)) == len(written)
    assert not set(written) & {(t.first, t.second) for t in everything("")}


def test_source_sentences_are_acceptable_and_source_pairs_mean_the_same():
    for text in everything(""):
        if text.second:
            assert meaning(text.first) == meaning(text.second)
        else:
            assert Reader(text.first.split()).acceptable()


def test_every_word_is_in_the_vocabulary_and_no_form_belongs_to_two_words():
    known = build_vocabulary()
    assert known[: len(SPECIAL)] == SPECIAL
    assert len(set(known)) == len(known)
    used = {
        w for v in tasks.RECIPES for t in everything(v) for w in f"{t.first} {t.second}".split()
    }
    assert used <= set(known)
    owners = [f for pair in LEXICON for word in pair for f in set(word.forms)]
    assert len(set(owners)) == len(owners)


def test_the_texts_never_change():
    prints = " ".join(data_set.fingerprint(None) for data_set in tasks.DATA_SETS)
    assert hashlib.sha256(prints.encode()).hexdigest()[:16] == "f29fa2f55f39df1a"
