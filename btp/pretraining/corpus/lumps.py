"""Corpus families: rounded and flat-faced lumps."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import Array, moved, superquadric, union
from btp.pretraining.corpus.extra_solids import hull, radial
from btp.pretraining.corpus.shape import (
    Rng,
    Shape,
    count_word,
)


def lump(rng: Rng) -> Shape:
    """Push a ball in and out by smooth waves: fruit, pebbles, clay."""
    number, rough = int(rng.integers(4, 28)), rng.uniform(0.5, 1.5)
    pitch = rng.standard_normal((number, 3)) * np.exp(rng.uniform(0, 1.8, (number, 1)))
    size = np.linalg.norm(pitch, axis=1)
    height = rng.uniform(0.05, 0.45) * size ** (-rough) / np.sqrt(number) * 2
    phase = rng.uniform(0, 2 * np.pi, number)
    axes = np.array([1, rng.uniform(0.5, 1), rng.uniform(0.35, 1)])
    ridges = int(rng.integers(5, 11)) if rng.random() < 0.25 else 0

    def reach(direction: Array) -> Array:
        wave = 1 + np.cos(direction @ pitch.T + phase) @ height
        if ridges:
            angle = np.arctan2(direction[:, 1], direction[:, 0])
            wave = wave + 0.08 * np.abs(np.cos(ridges * angle / 2)) * (1 - direction[:, 2] ** 2)
        return np.asarray(np.maximum(wave, 0.2) / np.linalg.norm(direction / axes, axis=1))

    long = axes.max() / axes.min() > 1.7
    nouns = ["pumpkin", "melon", "fruit"] if ridges else ["pebble", "stone", "potato", "fruit"]
    traits = ["rounded", "irregular" if height.sum() > 0.25 else "smooth"]
    return Shape(radial(reach), nouns, [*traits, "long" if long else "compact"], [])


def squared(rng: Rng) -> Shape:
    """Stack or join one to three super-quadrics: pillows, dice, spindles, toys."""
    number = int(rng.integers(1, 4))
    pieces, level = [], 0.0
    for _ in range(number):
        size = rng.uniform(0.3, 1, 3)
        tall, wide = rng.uniform(0.15, 1.7, 2)
        pieces.append(moved(superquadric(tuple(size), (tall, wide)), None, (0, 0, level)))
        level += rng.uniform(0.5, 1.0) * size[2]
    if number == 1:
        boxy = tall < 0.5 and wide < 0.5
        nouns = (
            ["box", "die", "brick", "soap bar"] if boxy else ["pillow", "ball", "egg", "lozenge"]
        )
        return Shape(pieces[0], nouns, ["boxy" if boxy else "rounded"], [])
    words = [f"{count_word(number)} stacked parts", f"{count_word(number)} joined bodies"]
    return Shape(union(*pieces), ["toy tower", "totem", "snowman"], ["stacked"], words)


def faceted(rng: Rng) -> Shape:
    """Draw a flat-faced convex body: stones, crystals, wedges, tents."""
    style = rng.random()
    if style < 0.5:
        points = rng.standard_normal((int(rng.integers(7, 40)), 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True) ** rng.uniform(0.6, 1)
        points *= rng.uniform(0.4, 1, 3)
        return Shape(
            hull(points),
            ["cut stone", "crystal", "gem", "rock"],
            ["faceted", "angular"],
            ["flat faces"],
        )
    sides = int(rng.integers(3, 9))
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
    tip = np.array([[0, 0, rng.uniform(0.5, 2)]])
    if style < 0.75:
        faces = f"{count_word(sides)} sloping faces"
        return Shape(
            hull(np.concatenate([ring, tip])),
            ["pyramid", "tent", "roof"],
            ["pointed", "angular"],
            [faces],
        )
    points = np.concatenate([ring, 0.6 * ring + tip / 3, -tip])
    return Shape(
        hull(points), ["diamond", "gem", "crystal"], ["pointed", "faceted"], ["flat faces"]
    )
