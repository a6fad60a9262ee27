"""The pretraining corpus: endless clouds with captions, each a function of (seed, index) alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from btp.data.synthesis import defects
from btp.data.synthesis.solids import Array, sample
from btp.pretraining.corpus.captions import Words, describe, proportions
from btp.pretraining.corpus.detail import DETAILS, warp
from btp.pretraining.corpus.families import FAMILIES, draw_family
from btp.pretraining.corpus.shape import log_uniform, random_turn

Rng = np.random.Generator

POINTS = (8_000, 40_000)
"""Points of a cloud before material or the unseen side is taken away."""
NOISE = 0.006
"""Largest standard deviation of the scanner's noise, in parts of the radius."""
ONE_SIDED = 0.35
"""Share of clouds that are seen from one side."""
DEFECTIVE = 0.5
"""Share of objects with a defect."""


@dataclass(frozen=True)
class CorpusItem:
    """One captioned cloud.

    Attributes:
        points: float32 [N, 3], about unit size, random pose.
        labels: bool [N], the defective points.
        captions: several wordings of the same facts; none tells whether there is a defect.
        nouns: everyday things that it resembles, best first.
        origin: a key of `FAMILIES`, or the collection that a mesh comes from.
        defect: its kind, as the source names it, or "" for a sound object.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.bool_]
    captions: tuple[str, ...]
    nouns: tuple[str, ...]
    origin: str
    defect: str


class Source(Protocol):
    """An endless row of items, each a function of its seed and index alone."""

    @property
    def key(self) -> str:
        """Return a text that differs between sources whose items differ."""
        ...

    def __call__(self, seed: int, index: int) -> CorpusItem:
        """Make item number `index` of the corpus `seed`."""
        ...


@dataclass(frozen=True)
class Families:
    """Procedural bodies with designed detail, half of them with a defect of the demo set's maker.

    Attributes:
        names: families to draw from.
        wordings: captions an item.
    """

    names: tuple[str, ...] = tuple(sorted(FAMILIES))
    wordings: int = 2

    @property
    def key(self) -> str:
        """Return the families' names."""
        return " ".join(self.names)

    def __call__(self, seed: int, index: int) -> CorpusItem:
        """Make item number `index` of the corpus `seed`."""
        rng = np.random.default_rng([seed, index])
        family = draw_family(rng, self.names)
        shape = FAMILIES[family](rng)
        one_sided = rng.random() < ONE_SIDED
        count = int(log_uniform(rng, *POINTS) * (1.6 if one_sided else 1.0))
        points, normals = sample(shape.solid, count, rng)
        points = points - points.mean(0)
        points /= np.linalg.norm(points, axis=1).max()
        points, details = detailed(points, normals, rng)
        defect = str(rng.choice(sorted(defects.KINDS))) if rng.random() < DEFECTIVE else ""
        labels = np.zeros(len(points), bool)
        if defect:
            moved, labels = defects.apply(defect, points, normals, rng)
            points = moved.astype(np.float64)
        words = Words(shape.nouns, shape.traits, [*shape.parts, *details])
        scanned, labels, captions = scan(points, labels, words, one_sided, rng, self.wordings)
        return CorpusItem(scanned, labels, captions, tuple(shape.nouns), family, defect)


def scan(
    points: Array,
    labels: NDArray[np.bool_],
    words: Words,
    one_sided: bool,
    rng: Rng,
    wordings: int = 2,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[str, ...]]:
    """Scan an object of about unit size: view, density, noise and pose; and describe it.

    Args:
        points: [N, 3], in its own upright frame.
        labels: [N], the defective ones.
        words: of the object.
        one_sided: keep what one camera sees.
        rng: decides the rest.
        wordings: number of captions.

    Returns:
        Points [M, 3], labels [M] and captions.
    """
    if one_sided:
        seen = _view(points, labels, rng)
        points, labels = points[seen], labels[seen]
    seen = _thinned(points, rng)
    points, labels = points[seen], labels[seen]
    captions = tuple(
        describe(words, proportions(points, rng), one_sided, rng) for _ in range(wordings)
    )
    points = points + rng.normal(0, NOISE * rng.random() ** 2, points.shape)
    return (points @ random_turn(rng).T).astype(np.float32), labels, captions


def detailed(points: Array, normals: Array, rng: Rng) -> tuple[Array, list[str]]:
    """Return the points with up to three designed details, and phrases that name these."""
    words = []
    for number in rng.permutation(len(DETAILS))[
        : int(rng.choice([0, 1, 2, 3], p=[0.3, 0.4, 0.2, 0.1]))
    ]:
        lift, word = DETAILS[number](points, normals, rng)
        points = points + lift[:, None] * normals
        words.append(word)
    return (warp(points, rng) if rng.random() < 0.4 else points), words


def _view(points: Array, labels: NDArray[np.bool_], rng: Rng) -> NDArray[np.intp]:
    """Return rows that one camera sees; of a few cameras the one that sees most of the defect."""
    best = np.arange(0)
    for _ in range(4):
        rows = _visible(points @ random_turn(rng))
        if len(rows) > len(points) // 5 and labels[rows].sum() >= labels[best].sum():
            best = rows
        if len(best) and labels[best].sum() >= 0.6 * labels.sum():
            return best
    return best if len(best) else np.arange(len(points))


def _visible(points: Array) -> NDArray[np.intp]:
    """Return rows not hidden from a camera far up the z axis, by a depth buffer."""
    cell = 2.5 / np.sqrt(len(points))
    flat = ((points[:, :2] - points[:, :2].min(0)) / cell).astype(np.int64)
    key = flat[:, 0] * (flat[:, 1].max() + 1) + flat[:, 1]
    nearest = np.full(int(key.max()) + 1, -np.inf)
    np.maximum.at(nearest, key, points[:, 2])
    return np.flatnonzero(points[:, 2] > nearest[key] - 3 * cell)


def _thinned(points: Array, rng: Rng) -> NDArray[np.intp]:
    """Draw the rows that a scanner keeps: all, fewer to one side, or one for each small cube."""
    style = rng.random()
    if style < 0.5:
        return np.arange(len(points))
    if style < 0.75:
        along = points @ random_turn(rng)[0]
        share = (along - along.min()) / max(np.ptp(along), 1e-9)
        return np.flatnonzero(rng.random(len(points)) < 1 - rng.uniform(0.2, 0.6) * share)
    cell = rng.uniform(0.6, 0.9) * np.sqrt(6 / len(points))
    cubes = ((points - points.min(0)) / cell).astype(np.int64) @ (1, 4096, 4096**2)
    return np.sort(np.unique(cubes, return_index=True)[1])
