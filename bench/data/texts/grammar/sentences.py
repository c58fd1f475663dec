"""Sentences with number agreement and relative clauses, and faults that make them unacceptable.

    S   → NP VP [PP] .
    NP  → NP' [PP | who VP' | who NP' Vt] | NP' and NP'
    NP' → Det [Adj] Being
    VP  → Vi [Adv] | Vt NP | be Adj
    PP  → Prep Det [Adj] Place

VP' is a VP inside a relative clause.

A finite verb agrees with its subject, and a determiner with its noun. No relative clause follows a
place or a coordination, because a reader could attach it to another noun.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from bench.data.texts.grammar.words import (
    ADJECTIVES,
    ADVERBS,
    BE,
    BEINGS,
    DETERMINERS,
    INTRANSITIVE,
    PLACES,
    PLURAL,
    PREPOSITIONS,
    SINGULAR,
    TRANSITIVE,
    Lexeme,
    Synonyms,
)

DEEPEST = 2  # most relative clauses nested in one another


@dataclass(frozen=True)
class Token:
    """Word of a sentence: its form, its kind, and its form in the opposite number."""

    form: str
    kind: str
    other: str = ""


Sentence = list[Token]
Fault = Callable[[random.Random, Sentence], Sentence]  # returns [] if it does not apply


def draw_sentence(draw: random.Random) -> Sentence:
    """Draw an acceptable sentence, without its full stop."""
    subject, number = _draw_noun_phrase(draw, 0)
    place = _draw_place(draw) if draw.random() < 0.2 else []
    return [*subject, *_draw_predicate(draw, number, 0, "verb"), *place]


def violate(draw: random.Random, whole: Sentence) -> Sentence:
    """Return the acceptable sentence `whole`, made unacceptable by one fault drawn at random."""
    found: Sentence = []
    while not found:  # ends, because every sentence has a main verb to change
        found = draw.choice(FAULTS)(draw, whole)
    return found


def _draw_noun_phrase(draw: random.Random, depth: int) -> tuple[Sentence, int]:
    """Draw a noun phrase; return it with its number."""
    if depth < DEEPEST and draw.random() < 0.12:
        first, _ = _draw_noun(draw)
        second, _ = _draw_noun(draw)
        return [*first, Token("and", "and"), *second], PLURAL
    noun, number = _draw_noun(draw)
    if depth < DEEPEST and draw.random() < 0.65:
        kind = draw.random()
        if kind < 0.4:
            noun += _draw_place(draw)
        elif kind < 0.7:
            clause = _draw_predicate(draw, number, depth + 1, "inner verb")
            noun += [Token("who", "who"), *clause]
        else:
            subject, of_subject = _draw_noun_phrase(draw, DEEPEST)
            verb = _draw_word(draw, TRANSITIVE, "inner verb", of_subject)
            noun += [Token("who", "who"), *subject, verb]
    return noun, number


def _draw_noun(draw: random.Random) -> tuple[Sentence, int]:
    number = draw.randrange(2)
    return _draw_described_noun(draw, BEINGS, number), number


def _draw_described_noun(draw: random.Random, nouns: tuple[Synonyms, ...], number: int) -> Sentence:
    """Draw Det [Adj] N."""
    adjective = [_draw_word(draw, ADJECTIVES, "adjective")] if draw.random() < 0.3 else []
    determiner = _inflect(draw.choice(DETERMINERS), number, "determiner")
    return [determiner, *adjective, _draw_word(draw, nouns, "noun", number)]


def _draw_place(draw: random.Random) -> Sentence:
    """Draw Prep Det [Adj] Place."""
    return [
        _draw_word(draw, PREPOSITIONS, "preposition"),
        *_draw_described_noun(draw, PLACES, draw.randrange(2)),
    ]


def _draw_predicate(draw: random.Random, number: int, depth: int, kind: str) -> Sentence:
    """Draw Vi [Adv] | Vt NP | be Adj, in the number of its subject."""
    which = draw.random()
    if which < 0.4:
        adverb = [_draw_word(draw, ADVERBS, "adverb")] if draw.random() < 0.3 else []
        return [_draw_word(draw, INTRANSITIVE, kind, number), *adverb]
    if which < 0.75:
        return [_draw_word(draw, TRANSITIVE, kind, number), *_draw_noun_phrase(draw, depth + 1)[0]]
    return [_inflect(BE, number, kind), _draw_word(draw, ADJECTIVES, "adjective")]


def _draw_word(
    draw: random.Random, pairs: tuple[Synonyms, ...], kind: str, number: int = SINGULAR
) -> Token:
    """Draw a word from a list, in the given number."""
    return _inflect(draw.choice(draw.choice(pairs)), number, kind)


def _inflect(word: Lexeme, number: int, kind: str) -> Token:
    return Token(word.form(number), kind, word.form(1 - number))


def _make_number_fault(kind: str) -> Fault:
    """Return a fault that switches a word of the given kind between singular and plural."""

    def fault(draw: random.Random, whole: Sentence) -> Sentence:
        places = [i for i, t in enumerate(whole) if t.kind == kind and t.form != t.other]
        if not places:
            return []
        at = draw.choice(places)
        return [*whole[:at], Token(whole[at].other, kind, whole[at].form), *whole[at + 1 :]]

    return fault


def _swap_determiner(draw: random.Random, whole: Sentence) -> Sentence:
    """Move a determiner behind the word that follows it."""
    at = draw.choice([i for i, t in enumerate(whole) if t.kind == "determiner"])
    return [*whole[:at], whole[at + 1], whole[at], *whole[at + 2 :]]


def _drop_determiner(draw: random.Random, whole: Sentence) -> Sentence:
    """Remove the determiner "this" or "every" of a singular noun.

    Without a determiner, plural nouns and nouns after "and" are acceptable, so they keep it.
    """
    singular = {d.form(SINGULAR) for d in DETERMINERS} - {d.form(PLURAL) for d in DETERMINERS}
    places = [i for i, t in enumerate(whole) if t.form in singular]
    places = [i for i in places if whole[i - 1].kind != "and"]
    if not places:
        return []
    at = draw.choice(places)
    return [*whole[:at], *whole[at + 1 :]]


FAULTS: tuple[Fault, ...] = (
    *[_make_number_fault("verb")] * 4,
    _make_number_fault("inner verb"),
    _make_number_fault("determiner"),
    _swap_determiner,
    _drop_determiner,
)
