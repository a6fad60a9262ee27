"""Corpus families: random profiles turned about an axis, and threaded shafts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from btp.data.synthesis.solids import Array, difference, extrude, moved, revolve
from btp.pretraining.corpus.extra_solids import cross, rectangle
from btp.pretraining.corpus.shape import (
    Rng,
    Shape,
    count_word,
    log_uniform,
    pick,
)


def turned(rng: Rng) -> Shape:
    """Turn a random profile about an axis: solid or hollow, smooth or stepped, with relief."""
    height, outer, smooth = _random_profile(rng)
    hollow = rng.random() < 0.6
    wall = rng.uniform(0.04, 0.12)
    stem, open_floor = stem_level(outer), hollow and rng.random() > 0.85
    if hollow:
        floor = 0.0 if open_floor else stem + rng.uniform(1.0, 2.0) * wall  # stems are no tubes
        outline = hollow_outline(outer, wall, floor)
        parts = ["an open mouth", "a thin wall"]
        if open_floor:
            parts = ["an opening right through", "two open ends"]
    else:
        outline, parts = np.concatenate([[[0, 0]], outer, [[0, outer[-1, 1]]]]), []
    relief, more = _relief(rng, height)
    nouns = turned_nouns(height, outer, hollow, open_floor, stem > 0)
    thread = "thread" in " ".join(more)
    if not hollow and height > 2 and thread:
        nouns = ["threaded rod", "stud", "screw"]
    traits = ["round", "hollow" if hollow else "solid", "smooth" if smooth else "stepped"]
    step = 0.02 if thread else 0.04
    solid = revolve(outline, relief, step)
    return Shape(solid, nouns, traits, parts + more)


def threaded(rng: Rng) -> Shape:
    """Draw a shaft with some thread, perhaps a head and a point: screws, bolts, studs."""
    long, pitch, depth = rng.uniform(2, 9), rng.uniform(0.25, 0.9), rng.uniform(0.06, 0.2)
    headed, pointed = rng.random() < 0.7, rng.random() < 0.4
    tip = min(rng.uniform(0.8, 2.5), 0.6 * long) if pointed else rng.uniform(0.05, 0.3)
    outline = [(0.0, 0.0), (0.05 if pointed else 0.75, 0.0), (1.0, tip), (1.0, long)]
    high, parts, wide = long, ["a screw thread"], 1.0
    if headed:
        wide, tall = rng.uniform(1.5, 2.8), rng.uniform(0.4, 1.8)
        high = long + tall
        outline += [
            [(wide, high)],  # countersunk
            [(wide, long), (wide, high)],
            [(wide, long), (0.9 * wide, long + 0.5 * tall), (0.55 * wide, high - 0.1 * tall)],
        ][int(rng.integers(3))]
        parts.append("a wide head")
    outline.append((0.0, high))
    if pointed:
        parts.append("a pointed tip")
    plain = rng.uniform(0, 0.6) * (long - tip) if rng.random() < 0.5 else 0.0
    sharp, starts = rng.uniform(0.5, 4), int(rng.integers(1, 3))

    def thread(angle: Array, level: Array) -> Array:
        wave = _wave(2 * np.pi * level / pitch - starts * angle, sharp)
        on = np.clip(np.minimum(level, long - plain - level) / (0.5 * pitch), 0, 1)
        return np.asarray(1 + depth * wave * on)

    solid = revolve(np.array(outline), thread, step=pitch / 10)
    if headed and rng.random() < 0.6:
        sunk = rng.uniform(0.3, 0.7) * tall
        radii, levels = np.array(outline[:-1]).T
        within = np.interp([high - sunk, high], levels, radii).min()
        cut = rectangle(0.5, 6) if rng.random() < 0.5 else cross(0.45, 0.8 * within)
        solid = difference(solid, moved(extrude([cut], 4.0), None, (0, 0, high + 2.0 - sunk)))
        parts.append("a slot in its head")
    nouns = ["screw", "bolt"] if headed else ["threaded rod", "stud"]
    traits = ["long", "threaded"] if long > 4 * wide else ["threaded"]
    return Shape(solid, nouns, traits, parts)


def _random_profile(rng: Rng) -> tuple[float, Array, bool]:
    """Draw a height, an outer profile [P, 2] from the bottom up (widest 1), and if it is smooth."""
    height = log_uniform(rng, 0.25, 6)
    knots = int(rng.integers(2, 8))
    radii = rng.uniform(0.25, 1, knots) if rng.random() < 0.7 else 1 - 0.2 * rng.random(knots)
    if knots > 2 and rng.random() < 0.5:  # broad and narrow in turn: feet, stems, bellies, necks
        radii = np.where(rng.random(knots) < 0.5, 0.45 * radii, rng.uniform(0.75, 1, knots))
    radii /= radii.max()
    levels = np.sort(rng.random(knots)) * 0.6 + np.linspace(0, 1, knots) * 0.4
    levels = (levels - levels[0]) / (levels[-1] - levels[0]) * height
    style = rng.random()
    if style < 0.55:
        z = np.linspace(0, height, 48)
        return height, np.column_stack([PchipInterpolator(levels, radii)(z), z]), True
    if style < 0.75:
        return height, np.column_stack([radii, levels]), False
    edges = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2, levels[-1:]])
    stepped = [(r, z) for r, *ends in zip(radii, edges, edges[1:], strict=False) for z in ends]
    return height, np.array(stepped), False


def hollow_outline(outer: Array, wall: float, floor: float) -> Array:
    """Return the outline [P, 2] of `outer` made hollow: `wall` thick, from the level `floor` up."""
    radii, levels = outer.T
    level = np.linspace(floor, levels[-1], 64)
    ball = wall * np.linspace(-1, 1, 17)
    # what a ball of the wall's size cannot reach from outside
    near = np.interp(level[:, None] + ball, levels, radii) - np.sqrt(wall**2 - ball**2)
    inner = np.column_stack([np.maximum(near.min(1), 0.02), level])[::-1]
    if floor == 0:
        return np.concatenate([outer, inner])
    return np.concatenate([[[0, 0]], outer, inner, [[0, floor]]])


def stem_level(outer: Array) -> float:
    """Find the level where the stem under an outer profile [P, 2] ends; 0 if there is none."""
    level = outer[:, 1] / outer[-1, 1]
    middle = np.linspace(0.08, 0.6, 40)
    waist = np.interp(middle, level, outer[:, 0])
    thinnest = waist.min()
    end = middle[np.flatnonzero(waist < 1.15 * thinnest)[-1]]
    narrow = thinnest < 0.45 and outer[0, 0] > 1.3 * thinnest
    cup = outer[level > end, 0].max() > 1.8 * thinnest
    return float(end * outer[-1, 1]) if narrow and cup else 0.0


def turned_nouns(
    height: float, outer: Array, hollow: bool, open_floor: bool, stemmed: bool
) -> list[str]:
    """Name everyday things of about these proportions."""
    ratio = height / 2
    share = outer[:, 1] / height
    mouth, foot = outer[-1, 0], outer[0, 0]
    middle = np.interp([0.15, 0.35, 0.5, 0.65, 0.85], share, outer[:, 0])
    if open_floor:
        return ["tube", "pipe", "sleeve"] if ratio > 0.7 else ["ring", "collar", "hoop"]
    if hollow:
        return _vessel_nouns(ratio, mouth, foot, middle, stemmed)
    if ratio < 0.3:
        return (
            ["disc", "wheel", "coin", "lid"] if middle.min() > 0.8 else ["wheel", "pulley", "disc"]
        )
    if ratio < 1.2:
        if mouth < 0.4 and foot < 0.4:
            return ["spinning top", "bead", "ball"]
        if middle.max() > 1.5 * min(mouth, foot):
            return ["knob", "mushroom"]
        return ["drum", "barrel", "spool"]
    if middle.min() > 0.8:
        return ["rod", "pin", "column", "shaft"]
    if mouth < 0.5 < middle.max():
        return ["bowling pin", "chess piece", "pawn"]
    return ["spindle", "table leg", "candlestick", "post"]


def _vessel_nouns(
    ratio: float, mouth: float, foot: float, middle: Array, stemmed: bool
) -> list[str]:
    """Name a hollow body by height over width, its radii on the way up, and if it has a stem."""
    if ratio < 0.3:
        return ["plate", "saucer", "dish", "tray"]
    if stemmed and mouth > 0.55:
        return ["goblet", "wine glass", "chalice"]
    if mouth < 0.5 and ratio > 0.9:
        necked = middle[-1] < 0.55
        return ["bottle", "carafe"] if necked else ["flask", "gourd"]
    if mouth < 0.5:
        return ["pot", "jar", "urn"]
    if ratio < 0.7:
        return ["bowl", "basin", "pan", "dish"]
    neck = min(middle[3:].min(), mouth)
    if middle[:4].max() > 1.2 * max(neck, 0.9 * foot):
        return ["vase", "urn", "amphora"] if ratio > 0.8 else ["pot", "jar", "urn"]
    return ["cup", "bucket", "mug", "pot"] if ratio < 1.3 else ["tumbler", "beaker", "glass"]


def _relief(rng: Rng, height: float) -> tuple[Callable[[Array, Array], Array] | None, list[str]]:
    """Draw flutes, rings or a thread as a factor on the radius, and its words."""
    style = rng.random()
    depth = rng.uniform(0.02, 0.1)
    sharp = rng.uniform(1, 6)
    if style < 0.45:
        return None, []

    low, high = np.sort(rng.random(2)) if rng.random() < 0.5 else (-1.0, 2.0)

    def window(level: Array) -> Array:
        t = level / height
        return np.asarray(1 / (1 + np.exp(-np.clip(40 * np.minimum(t - low, high - t), -50, 50))))

    if style < 0.65:
        number = int(rng.integers(3, 28))
        what = "lengthwise grooves" if number > 6 else "lobes"
        words = [f"{count_word(number)} {what}"]
        return lambda a, z: 1 + depth * (_wave(number * a, sharp) - 1) * window(z), words
    turns = rng.uniform(2, 14)
    starts, words = 0, ["ring-shaped ridges", "rings around it", "parallel ribs around it"]
    if style > 0.82:
        starts = int(rng.integers(1, 4))
        words = ["a screw thread", "a spiral thread", "a helical groove"]

    def rings(angle: Array, level: Array) -> Array:
        phase = 2 * np.pi * turns * level / height - starts * angle
        return 1 + depth * _wave(phase, sharp) * window(level)

    return rings, [pick(rng, words)]


def _wave(phase: Array, sharp: float) -> Array:
    """Return a wave from -1 to 1 and back in 2 pi, the steeper the sharper."""
    return np.asarray(np.tanh(sharp * np.cos(phase)) / np.tanh(sharp))
