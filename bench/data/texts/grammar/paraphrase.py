"""Pairs of sentences with the same meaning, or with almost the same meaning.

A scene is the meaning of a sentence. Several sentences express one scene: active or passive, and
each word or its synonym. A near miss is a scene with one to three facts changed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from bench.data.texts.grammar.words import (
    BE,
    BEINGS,
    DETERMINERS,
    PLACES,
    PREPOSITIONS,
    TRANSITIVE,
    Synonyms,
)

PARTICIPLE = 2


@dataclass(frozen=True)
class Thing:
    """Noun with its number and determiner, as indices into the word lists."""

    noun: int
    number: int
    determiner: int


@dataclass(frozen=True)
class Scene:
    """Agent, verb, patient, and where it happens (preposition and place, or None)."""

    agent: Thing
    verb: int
    patient: Thing
    where: tuple[int, Thing] | None


def draw_scene(draw: random.Random) -> Scene:
    """Draw a scene whose agent and patient are different nouns."""
    agent, patient = draw.sample(range(len(BEINGS)), 2)
    where = None
    if draw.random() < 0.5:
        place = _draw_thing(draw, draw.randrange(len(PLACES)))
        where = (draw.randrange(len(PREPOSITIONS)), place)
    return Scene(
        _draw_thing(draw, agent), draw.randrange(len(TRANSITIVE)), _draw_thing(draw, patient), where
    )


def say(draw: random.Random, said: Scene) -> str:
    """Draw one of the sentences that express a scene."""
    agent, patient = (_draw_phrase(draw, thing, BEINGS) for thing in (said.agent, said.patient))
    verb = draw.choice(TRANSITIVE[said.verb])
    if draw.random() < 0.5:
        words = [*agent, verb.form(said.agent.number), *patient]
    else:
        passive = [BE.form(said.patient.number), verb.forms[PARTICIPLE], "by"]
        words = [*patient, *passive, *agent]
    if said.where:
        preposition = draw.choice(PREPOSITIONS[said.where[0]]).form(0)
        place = [preposition, *_draw_phrase(draw, said.where[1], PLACES)]
        words += place
    return " ".join([*words, "."])


def make_near_miss(draw: random.Random, said: Scene) -> Scene:
    """Return the scene with one to three facts changed, each of a different kind."""
    kinds = ("roles", "noun", "number", "verb", *["place"] * (said.where is not None))
    for kind in draw.sample(kinds, draw.randint(1, 3)):
        said = _change_fact(draw, said, kind)
    return said


def _change_fact(draw: random.Random, said: Scene, kind: str) -> Scene:
    agent, patient = said.agent, said.patient
    if kind == "roles":
        return replace(said, agent=patient, patient=agent)
    if kind == "verb":
        return replace(said, verb=_draw_other(draw, (said.verb,), TRANSITIVE))
    if kind == "number":
        return replace(said, patient=replace(patient, number=1 - patient.number))
    if kind == "noun":
        other = _draw_other(draw, (agent.noun, patient.noun), BEINGS)
        return replace(said, agent=replace(agent, noun=other))
    assert said.where is not None
    preposition, place = said.where
    if draw.random() < 0.5:
        return replace(said, where=(_draw_other(draw, (preposition,), PREPOSITIONS), place))
    place = replace(place, noun=_draw_other(draw, (place.noun,), PLACES))
    return replace(said, where=(preposition, place))


def _draw_thing(draw: random.Random, noun: int) -> Thing:
    return Thing(noun, draw.randrange(2), draw.randrange(len(DETERMINERS)))


def _draw_phrase(draw: random.Random, thing: Thing, nouns: tuple[Synonyms, ...]) -> list[str]:
    """Draw the words of "Det N" for a thing."""
    determiner, noun = DETERMINERS[thing.determiner], draw.choice(nouns[thing.noun])
    return [determiner.form(thing.number), noun.form(thing.number)]


def _draw_other(
    draw: random.Random, not_these: tuple[int, ...], pairs: tuple[Synonyms, ...]
) -> int:
    return draw.choice([i for i in range(len(pairs)) if i not in not_these])
