"""Pairs of sentences that say the same in other words, or nearly the same.

A scene is what a sentence says; it is put into words in one of several ways: active or passive,
the place first or last, each word or its synonym. A near miss is a scene with one fact changed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from bench.data.grammar.words import (
    ADJECTIVES,
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
    """A noun with what is said of it; indices into the word lists, adjective -1 for none."""

    noun: int
    number: int
    determiner: int
    adjective: int


@dataclass(frozen=True)
class Scene:
    """Who does what to whom, and where (preposition and place, or None)."""

    agent: Thing
    verb: int
    patient: Thing
    where: tuple[int, Thing] | None


def scene(draw: random.Random) -> Scene:
    """Any scene; its agent and its patient are different nouns."""
    agent, patient = draw.sample(range(len(BEINGS)), 2)
    where = None
    if draw.random() < 0.5:
        place = _thing(draw, draw.randrange(len(PLACES)))
        where = (draw.randrange(len(PREPOSITIONS)), place)
    return Scene(_thing(draw, agent), draw.randrange(len(TRANSITIVE)), _thing(draw, patient), where)


def say(draw: random.Random, said: Scene) -> str:
    """One of the ways to put a scene into words."""
    agent, patient = (_phrase(draw, thing, BEINGS) for thing in (said.agent, said.patient))
    verb = draw.choice(TRANSITIVE[said.verb])
    if draw.random() < 0.5:
        words = [*agent, verb.form(said.agent.number), *patient]
    else:
        passive = [BE.form(said.patient.number), verb.forms[PARTICIPLE], "by"]
        words = [*patient, *passive, *agent]
    if said.where:
        preposition = draw.choice(PREPOSITIONS[said.where[0]]).form(0)
        place = [preposition, *_phrase(draw, said.where[1], PLACES)]
        words = [*place, ",", *words] if draw.random() < 0.5 else [*words, *place]
    return " ".join([*words, "."])


def near_miss(draw: random.Random, said: Scene) -> Scene:
    """The same scene with one fact changed."""
    agent, patient = said.agent, said.patient
    change = draw.choice(("roles", "roles", "noun", "number", "adjective", "verb", "place"))
    if change == "roles":
        return replace(said, agent=patient, patient=agent)
    if change == "verb":
        return replace(said, verb=_another(draw, said.verb, TRANSITIVE))
    if change == "place" and said.where:
        preposition, place = said.where
        if draw.random() < 0.5:
            return replace(said, where=(_another(draw, preposition, PREPOSITIONS), place))
        place = replace(place, noun=_another(draw, place.noun, PLACES))
        return replace(said, where=(preposition, place))
    if change == "adjective" and agent.adjective != patient.adjective:
        agent, patient = (
            replace(agent, adjective=patient.adjective),
            replace(patient, adjective=agent.adjective),
        )
        return replace(said, agent=agent, patient=patient)
    if change == "number":
        return replace(said, patient=replace(patient, number=1 - patient.number))
    others = [i for i in range(len(BEINGS)) if i not in (agent.noun, patient.noun)]
    return replace(said, agent=replace(agent, noun=draw.choice(others)))


def _thing(draw: random.Random, noun: int) -> Thing:
    adjective = draw.randrange(len(ADJECTIVES)) if draw.random() < 0.4 else -1
    return Thing(noun, draw.randrange(2), draw.randrange(len(DETERMINERS)), adjective)


def _phrase(draw: random.Random, thing: Thing, nouns: tuple[Synonyms, ...]) -> list[str]:
    """Det [Adj] N"""
    adjectives = ADJECTIVES[thing.adjective : thing.adjective + 1] if thing.adjective >= 0 else ()
    return [
        DETERMINERS[thing.determiner].form(thing.number),
        *(draw.choice(pair).form(0) for pair in adjectives),
        draw.choice(nouns[thing.noun]).form(thing.number),
    ]


def _another(draw: random.Random, index: int, pairs: tuple[Synonyms, ...]) -> int:
    return draw.choice([i for i in range(len(pairs)) if i != index])
