"""English for the corpus: what the thing is like, its parts, its state, and where a defect is."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import Array
from btp.pretraining.corpus.shape import Shape

Rng = np.random.Generator

DEFECTS = {
    "bend": ["a bent end", "a warped end", "a part bent out of shape"],
    "broken": ["a broken edge", "a missing piece", "a chipped corner", "a piece knocked off"],
    "bulge": ["a bulge", "a bump", "a swelling", "a raised lump"],
    "crack": ["a crack", "a split", "a jagged crack"],
    "hole": ["a torn hole", "a hole where it should be closed", "a missing patch"],
    "scratch": ["a scratch", "a scraped line", "a long scratch"],
    "sink": ["a dent", "a sunken spot", "a concavity", "a pushed-in spot"],
}
GOOD = ["normal", "intact", "flawless", "good", "perfect", "undamaged", "sound"]
BAD = ["defective", "damaged", "faulty", "anomalous", "flawed", "bad"]
FINE = ["without defects", "in good condition", "as designed", "with no damage"]


def describe(
    shape: Shape,
    size: str,
    details: list[str],
    defect: str,
    place: str,
    one_sided: bool,
    rng: Rng,
) -> str:
    """One caption of at most about forty words.

    Args:
        shape: the body's words.
        size: word for its proportions, or "".
        details: phrases for designed detail.
        defect: a key of `DEFECTS`, or "" for a normal object.
        place: where the defect is, as `locate` says.
        one_sided: seen from one side only.
        rng: chooses among the wordings.
    """
    state = str(rng.choice(BAD if defect else GOOD)) if rng.random() < 0.85 else ""
    traits = [t for t in shape.traits if rng.random() < 0.5]
    noun = _noun(shape, rng)
    head = " ".join(dict.fromkeys([*state.split(), *size.split(), *traits[:2], *noun.split()]))
    parts = [*shape.parts, *details]
    shown = [parts[i] for i in rng.permutation(len(parts))[: int(rng.integers(0, 3))]]
    caption = f"{article(head)} {head}"
    if shown:
        caption += " with " + " and ".join(shown)
    if defect:
        wording = str(rng.choice(DEFECTS[defect]))
        place = place if rng.random() < 0.8 else ""
        link = str(rng.choice([", but it has", "; there is", ", damaged by", ", with"]))
        caption += f"{link} {wording} {place}".rstrip()
    elif rng.random() < 0.4:
        caption += f", {rng.choice(FINE)}"
    if one_sided and rng.random() < 0.3:
        caption += ", seen from one side"
    return caption


def proportions(points: Array, rng: Rng) -> str:
    """A word for the lengths along the principal axes of points [N, 3], or ""."""
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


def locate(points: Array, labels: Array, shape: Shape, rng: Rng) -> str:
    """Where the labelled points [N] lie on the body, in its own upright frame [N, 3]."""
    low, high = points.min(0), points.max(0)
    spot = points[labels].mean(0)
    level = (spot[2] - low[2]) / max(high[2] - low[2], 1e-9)
    outward = np.hypot(*spot[:2]) / max(np.hypot(*points[:, :2].T).max(), 1e-9)
    if level > 0.8:
        return f"near {shape.ends[1]}"
    if level < 0.2:
        return f"near {shape.ends[0]}"
    if outward > 0.85:
        return str(rng.choice(["at the outer edge", "on the outside"]))
    return str(rng.choice(["on its side", "in the middle", "halfway along"]))


def _noun(shape: Shape, rng: Rng) -> str:
    # The first noun fits best.
    noun = shape.nouns[min(int(rng.exponential(1.0)), len(shape.nouns) - 1)]
    form = rng.random()
    if form < 0.5:
        return noun
    if form < 0.7:
        return f"{noun}-like object"
    if form < 0.85:
        return f"object shaped like {article(noun)} {noun}"
    return "object"


def article(phrase: str) -> str:
    """The indefinite article of a phrase."""
    return "an" if phrase[0] in "aeiou" else "a"
