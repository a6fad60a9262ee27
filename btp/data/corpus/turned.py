"""Corpus family: random profiles turned about an axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from btp.data.corpus.shape import (
    Rng,
    Shape,
    count_word,
    log_uniform,
    pick,
)
from btp.data.solids import Array, revolve


def turned(rng: Rng) -> Shape:
    """A random profile turned about an axis: solid or hollow, smooth or stepped, with relief."""
    height, outer, smooth = _random_profile(rng)
    hollow = rng.random() < 0.5
    wall = rng.uniform(0.04, 0.12)
    if hollow:
        floor = rng.uniform(1.0, 2.0) * wall if rng.random() < 0.85 else -1.0
        outline, parts = _hollow(outer, wall, floor)
    else:
        outline, parts = np.concatenate([[[0, 0]], outer, [[0, outer[-1, 1]]]]), []
    relief, more = _relief(rng, height)
    nouns = _turned_nouns(height, outer, hollow, open_floor=hollow and floor < 0)
    if not hollow and height > 2 and any("thread" in words for words in more):
        nouns = ["screw", "bolt", "threaded rod"]
    traits = ["round", "hollow" if hollow else "solid", "smooth" if smooth else "stepped"]
    step = 0.02 if "thread" in " ".join(more) else 0.04
    solid = revolve(outline, relief, step)
    ends = ("the base", "the rim" if hollow else "the top")
    return Shape(solid, nouns, traits, parts + more, ends)


def _random_profile(rng: Rng) -> tuple[float, Array, bool]:
    """Height, outer profile [P, 2] from bottom to top (largest radius 1), and if it is smooth."""
    height = log_uniform(rng, 0.15, 6)
    knots = int(rng.integers(2, 8))
    radii = rng.uniform(0.25, 1, knots) if rng.random() < 0.7 else 1 - 0.2 * rng.random(knots)
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


def _hollow(outer: Array, wall: float, floor: float) -> tuple[Array, list[str]]:
    """Closed outline of a vessel around `outer`; a negative floor leaves it open at both ends."""
    inner = np.column_stack([np.maximum(outer[:, 0] - wall, 0.02), outer[:, 1]])[::-1]
    if floor < 0:
        return np.concatenate([outer, inner]), ["an opening right through", "two open ends"]
    inner = inner[inner[:, 1] > outer[0, 1] + floor]
    if len(inner) == 0:
        inner = np.array([[max(outer[-1, 0] - wall, 0.02), outer[-1, 1]]])
    low = np.array([[inner[-1, 0], outer[0, 1] + floor], [0, outer[0, 1] + floor]])
    return np.concatenate([[[0, outer[0, 1]]], outer, inner, low]), ["an open mouth", "a thin wall"]


def _turned_nouns(height: float, outer: Array, hollow: bool, open_floor: bool) -> list[str]:
    """Everyday things of about these proportions."""
    ratio = height / 2
    share = outer[:, 1] / height
    mouth, foot = outer[-1, 0], outer[0, 0]
    middle = np.interp([0.15, 0.35, 0.5, 0.65, 0.85], share, outer[:, 0])
    if open_floor:
        return ["tube", "pipe", "sleeve"] if ratio > 0.7 else ["ring", "collar", "hoop"]
    if hollow:
        if ratio < 0.3:
            return ["plate", "saucer", "dish", "tray"]
        if mouth < 0.5:
            return ["bottle", "flask", "vase", "jug"] if ratio > 1.1 else ["jar", "pot", "urn"]
        if ratio < 0.7:
            return ["bowl", "basin", "pan", "dish"]
        if middle.min() < 0.55 and mouth > 0.65:
            return ["goblet", "wine glass", "vase", "chalice"]
        if ratio < 1.3:
            return ["cup", "pot", "bucket", "mug"]
        return ["vase", "tumbler", "glass", "beaker"]
    if ratio < 0.3:
        return (
            ["disc", "wheel", "coin", "lid"] if middle.min() > 0.8 else ["wheel", "pulley", "disc"]
        )
    if ratio < 1.2:
        if mouth < 0.4 and foot < 0.4:
            return ["spinning top", "bead", "ball"]
        if middle.max() > 1.5 * min(mouth, foot):
            return ["knob", "bell", "mushroom"]
        return ["drum", "barrel", "knob", "spool"]
    if middle.min() > 0.8:
        return ["rod", "pin", "column", "shaft"]
    if mouth < 0.5 < middle.max():
        return ["bottle", "bowling pin", "chess piece", "pawn"]
    return ["spindle", "table leg", "candlestick", "post"]


def _relief(rng: Rng, height: float) -> tuple[Callable[[Array, Array], Array] | None, list[str]]:
    """Flutes, rings or a thread as a factor on the radius, and its words."""
    style = rng.random()
    depth = rng.uniform(0.02, 0.1)
    sharp = rng.uniform(1, 6)
    if style < 0.45:
        return None, []

    def wave(phase: Array) -> Array:
        return np.asarray(np.tanh(sharp * np.cos(phase)) / np.tanh(sharp))

    low, high = np.sort(rng.random(2)) if rng.random() < 0.5 else (-1.0, 2.0)

    def window(level: Array) -> Array:
        t = level / height
        return np.asarray(1 / (1 + np.exp(-np.clip(40 * np.minimum(t - low, high - t), -50, 50))))

    if style < 0.65:
        number = int(rng.integers(3, 28))
        what = "lengthwise grooves" if number > 6 else "lobes"
        words = [f"{count_word(number)} {what}"]
        return lambda a, z: 1 + depth * (wave(number * a) - 1) * window(z), words
    turns = rng.uniform(2, 14)
    starts, words = 0, ["ring-shaped ridges", "rings around it", "parallel ribs around it"]
    if style > 0.82:
        starts = int(rng.integers(1, 4))
        words = ["a screw thread", "a spiral thread", "a helical groove"]

    def rings(angle: Array, level: Array) -> Array:
        return 1 + depth * wave(2 * np.pi * turns * level / height + starts * angle) * window(level)

    return rings, [pick(rng, words)]
