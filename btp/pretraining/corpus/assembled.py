"""Corpus family: two or three simple bodies joined."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import extrude, moved, sweep, union
from btp.pretraining.corpus.extra_solids import disc, loft, scaled
from btp.pretraining.corpus.lumps import faceted, lump, squared
from btp.pretraining.corpus.machined import machined
from btp.pretraining.corpus.prisms import prism
from btp.pretraining.corpus.shape import (
    Rng,
    Shape,
    about_z,
    pick,
)
from btp.pretraining.corpus.turned import turned


def assembled(rng: Rng) -> Shape:
    """Join two or three simple bodies: handled vessels, mallets, lollipops, lamps."""
    style = rng.random()
    if style < 0.45:
        shape = turned(rng)
        low, high = 0.2, rng.uniform(0.6, 1.2)
        t = np.linspace(0, np.pi, 60)
        wide = rng.uniform(0.4, 0.7)
        path = np.column_stack(
            [0.75 + wide * np.sin(t), 0 * t, low + (high - low) * (1 - np.cos(t)) / 2]
        )
        grips = 1 if rng.random() < 0.7 else 2
        bars = [
            moved(sweep(path, rng.uniform(0.06, 0.12)), about_z(np.pi * i)) for i in range(grips)
        ]
        nouns = ["mug", "jug", "teapot", "pitcher"] if grips == 1 else ["trophy", "urn", "pot"]
        words = ["a handle on its side"] if grips == 1 else ["two handles"]
        return Shape(union(shape.solid, *bars), nouns, shape.traits, words + shape.parts)
    thick = rng.uniform(0.08, 0.16)
    shaft = loft(np.array([(0, -1.5), (1, -1.5), (1, 0), (0, 0)]), lambda a: np.full_like(a, thick))
    head = pick(rng, [lump, squared, faceted, prism, machined])(rng)
    solid = union(shaft, scaled(head.solid, rng.uniform(0.4, 0.8)))
    if style < 0.8:
        return Shape(
            solid,
            ["mallet", "hammer", "lollipop", "rattle"],
            ["long"],
            ["a handle", "a thick head", *head.parts],
        )
    foot = moved(extrude([disc(rng.uniform(0.4, 0.7), corners=56)], 0.12), None, (0, 0, -1.5))
    return Shape(
        union(solid, foot),
        ["lamp", "trophy", "stand", "pedestal"],
        ["upright"],
        ["a foot", "a stem", "a head"],
    )
