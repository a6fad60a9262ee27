"""Corpus families: outlines pulled straight, tapered, twisted or bent into strips."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import Array, difference, extrude, moved
from btp.pretraining.corpus.extra_solids import Section, disc, loft
from btp.pretraining.corpus.shape import Rng, Shape, count_word, log_uniform, pick

POLYGONS = {3: "triangular", 4: "square", 5: "five-sided", 6: "hexagonal", 8: "eight-sided"}


def polygon_section(sides: int, stretch: float = 1.0) -> Section:
    """Return the radius over the angle of a regular polygon, stretched along x."""

    def section(angle: Array) -> Array:
        wedge = np.pi / sides
        x, y = np.cos(angle) / stretch, np.sin(angle)
        turned_angle = np.mod(np.arctan2(y, x), 2 * wedge) - wedge
        return np.asarray(np.cos(wedge) / np.cos(turned_angle) / np.hypot(x, y))

    return section


def wave_section(waves: int, depth: float, sharp: float) -> Section:
    """Return the radius over the angle of a round outline with lobes or teeth."""
    return lambda angle: 1 + depth * np.tanh(sharp * np.cos(waves * angle)) / np.tanh(sharp)


def prism(rng: Rng) -> Shape:
    """Pull a random outline straight, tapered or twisted, solid or hollow, edges often broken."""
    section, nouns, traits = _section(rng)
    height = log_uniform(rng, 0.15, 5)
    top = 1.0 if rng.random() < 0.6 else rng.uniform(0.3, 0.9)
    bevel = rng.uniform(0.02, 0.15) * min(height, 1) if rng.random() < 0.6 else 0.0
    twist = rng.uniform(0.3, 1.5) / max(height, 1) if rng.random() < 0.2 else 0.0
    outer = [(1 - bevel, 0), (1, bevel), (top, height - bevel), (top - bevel, height)]
    if bevel == 0:
        outer = [(1, 0), (top, height)]
    parts = ["bevelled edges"] if bevel else ["sharp edges"]
    bore = rng.uniform(0.25, 0.85)
    if rng.random() < 0.45:
        inner = bore * (top - bevel)
        outline = np.array([*outer, (inner, height), (bore * (1 - bevel), 0)])
        traits, parts = [*traits, "hollow"], [*parts, "a hole right through"]
        if "toothed" not in traits:
            nouns = ["nut", "ring", "frame"] if height < 1 else ["pipe", "tube", "sleeve"]
    else:
        outline = np.array([(0, 0), *outer, (0, height)])
    if "toothed" in traits and height > 1.2:
        nouns = ["fluted column", "splined shaft", "cog"]
    if top < 0.95:
        traits = [*traits, "tapered"]
    if twist:
        traits = [*traits, "twisted"]
    around = 288 if "toothed" in traits else 144
    return Shape(loft(outline, section, twist, around), nouns, traits, parts)


def _section(rng: Rng) -> tuple[Section, list[str], list[str]]:
    stretch = rng.uniform(1, 2.5) if rng.random() < 0.4 else 1.0
    style = rng.random()
    if style < 0.5:
        sides = int(pick(rng, list(POLYGONS)))
        nouns = ["block", "brick", "bar"] if sides == 4 else ["prism", "block", "bar"]
        return polygon_section(sides, stretch), nouns, [POLYGONS[sides]]
    waves = int(rng.integers(3, 26))
    depth, sharp = rng.uniform(0.04, 0.3) / (1 + waves / 12), rng.uniform(0.5, 5)
    if waves > 9:
        return wave_section(waves, depth, sharp), ["gear", "cog", "toothed wheel"], ["toothed"]
    if sharp < 1.5:
        return wave_section(waves, depth, sharp), ["flower", "cushion", "star knob"], ["lobed"]
    return wave_section(waves, depth, sharp), ["star", "cross", "star knob"], ["star-shaped"]


def beam(rng: Rng) -> Shape:
    """Pull a bent strip straight: angles, channels, corrugated sheet, gutters, brackets."""
    style = rng.random()
    wall = rng.uniform(0.08, 0.2)
    if style < 0.5:
        turns = int(rng.integers(1, 5))
        heading = np.cumsum(rng.choice([-1, 1], turns) * rng.uniform(0.6, 1.7, turns))
        steps = np.concatenate([[(1.0, 0.0)], np.column_stack([np.cos(heading), np.sin(heading)])])
        line = np.concatenate(
            [[(0.0, 0.0)], np.cumsum(steps * rng.uniform(0.6, 1, (len(steps), 1)), 0)]
        )
        nouns, traits = ["bracket", "angle iron", "channel", "step"], ["bent", "angular"]
        holed = rng.random(turns + 1) < 0.5 * (rng.random() < 0.7)
    else:
        t = np.linspace(0, 1, 60)
        waves, high = rng.uniform(0.5, 3), rng.uniform(0.15, 0.6)
        line = np.column_stack([2 * t, high * np.sin(2 * np.pi * waves * t)])
        wave = waves > 1.2
        nouns = ["corrugated sheet", "wavy panel"] if wave else ["gutter", "roof tile", "arch"]
        traits, holed = ["wavy" if wave else "arched"], np.zeros(len(line) - 1, bool)
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.column_stack([-tangent[:, 1], tangent[:, 0]]) * wall / 2
    outline = np.concatenate([line - side, (line + side)[::-1]])
    depth = rng.uniform(0.5, 3)
    solid = extrude([outline - outline.mean(0)], depth)
    if not holed.any():
        return Shape(solid, nouns, [*traits, "thin-walled"], [])
    size, bolts = min(rng.uniform(0.08, 0.2), depth / 6), int(rng.integers(1, 3))
    tools = []
    for start, end in zip(line[:-1][holed], line[1:][holed], strict=True):
        along = (end - start) / np.linalg.norm(end - start)
        turn = np.array([(0, along[0], -along[1]), (0, along[1], along[0]), (1, 0, 0)])
        middle = (start + end) / 2 - outline.mean(0)
        for level in np.linspace(-depth / 4, depth / 4, bolts) if bolts > 1 else [0.0]:
            pin = extrude([disc(size)], 3 * wall)
            tools.append(moved(pin, turn, (*middle, level)))
    parts = [f"{count_word(len(tools))} bolt holes" if len(tools) > 1 else "a bolt hole"]
    return Shape(difference(solid, *tools), nouns, [*traits, "thin-walled"], parts)
