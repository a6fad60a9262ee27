"""English for the corpus: what a thing is like and which parts it has, never its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from btp.data.synthesis.solids import Array

Rng = np.random.Generator


class Words(NamedTuple):
    """What captions may say of a thing.

    Attributes:
        nouns: everyday things that it resembles, best first.
        traits: adjectives that hold.
        parts: phrases to follow "with".
    """

    nouns: Sequence[str]
    traits: Sequence[str] = ()
    parts: Sequence[str] = ()


def describe(words: Words, size: str, one_sided: bool, rng: Rng) -> str:
    """Return one caption of at most about forty words that tells what the thing is like.

    Nothing in it depends on whether the thing has a defect: captions are not anomaly labels.

    Args:
        words: of the thing.
        size: word for its proportions, or "".
        one_sided: seen from one side only.
        rng: chooses among the wordings.
    """
    traits = [t for t in words.traits if rng.random() < 0.5]
    noun = _noun(words.nouns, rng)
    head = " ".join(dict.fromkeys([*size.split(), *traits[:2], *noun.split()]))
    shown = [words.parts[i] for i in rng.permutation(len(words.parts))[: int(rng.integers(0, 3))]]
    caption = f"{article(head)} {head}"
    if shown:
        caption += " with " + " and ".join(shown)
    if one_sided and rng.random() < 0.3:
        caption += ", seen from one side"
    return caption


def proportions(points: Array, rng: Rng) -> str:
    """Draw a word for the lengths along the principal axes of points [N, 3], or ""."""
    centred = points - points.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    short, middle, long = np.ptp(centred @ axes, axis=0)
    if middle < 0.4 * long:
        words = ["long thin", "slender", "elongated", "long"]
    elif short < 0.3 * middle:
        words = ["flat", "thin flat", "low"]
    elif short > 0.7 * long:
        words = ["compact", "chunky", ""]
    elif middle < 0.65 * long:
        words = ["tall", "oblong", "longish"]
    else:
        words = ["squat", "medium", ""]
    return str(rng.choice(words))


def _noun(nouns: Sequence[str], rng: Rng) -> str:
    # The first noun fits best.
    noun = nouns[min(int(rng.exponential(1.0)), len(nouns) - 1)]
    form = rng.random()
    if form < 0.5:
        return noun
    if form < 0.7:
        return f"{noun}-like object"
    if form < 0.85:
        return f"object shaped like {article(noun)} {noun}"
    return "object"


def article(phrase: str) -> str:
    """Return the indefinite article of a phrase."""
    return "an" if phrase[0] in "aeiou" else "a"
