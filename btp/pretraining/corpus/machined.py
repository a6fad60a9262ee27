"""Corpus families: plates and blocks with holes, ribs, bores and slots, and arms around a hub."""

from __future__ import annotations

import numpy as np

from btp.data.synthesis.solids import difference, extrude, moved, revolve, union
from btp.pretraining.corpus.extra_solids import disc, rectangle
from btp.pretraining.corpus.prisms import POLYGONS
from btp.pretraining.corpus.shape import (
    TIPPED,
    Rng,
    Shape,
    about_x,
    about_z,
    count_word,
    pick,
)


def plate(rng: Rng) -> Shape:
    """Draw a flat plate with designed holes, slots, ribs and studs."""
    x, y, thick = 1.0, rng.uniform(0.3, 1), rng.uniform(0.04, 0.25)
    round_plate = rng.random() < 0.35
    outline = disc(0.5 * x, corners=72) * 2 if round_plate else rectangle(2 * x, 2 * y)
    y = x if round_plate else y
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    spots = [
        (0.62 * x * a, 0.62 * y * b)
        for a in np.linspace(-1, 1, columns) for b in np.linspace(-1, 1, rows)
        if rows * columns > 1
    ] or [(0.0, 0.0)]  # fmt: skip
    size = rng.uniform(0.12, 0.3) * min(x / columns, y / rows)
    corners = int(pick(rng, [4, 6, 40, 40]))
    holed = rng.random() < 0.65
    parts, pieces = [], []
    if holed:
        solid = extrude([outline, *(disc(size, s, corners) for s in spots)], thick)
        what = "round holes" if corners == 40 else f"{POLYGONS[corners]} holes"
        parts.append(
            f"{count_word(len(spots))} {what}" if len(spots) > 1 else "one hole in the middle"
        )
    else:
        solid = extrude([outline], thick)
        tall = rng.uniform(0.04, 0.3)
        pieces += [
            moved(extrude([disc(size, s, corners)], tall), None, (0, 0, thick / 2)) for s in spots
        ]
        parts.append(
            f"{count_word(len(spots))} studs" if len(spots) > 1 else "a boss in the middle"
        )
    for _ in range(int(rng.integers(0, 3))):
        rib = extrude(
            [rectangle(1.7 * x, 0.08 * x, (0, rng.uniform(-0.8, 0.8) * y * (not round_plate)))],
            thick,
        )
        pieces.append(moved(rib, None, (0, 0, rng.uniform(0.1, 0.8) * thick)))
    if len(pieces) > (0 if holed else len(spots)):
        parts.append("straight ribs")
    solid = union(solid, *pieces) if pieces else solid
    nouns = (
        ["disc", "lid", "washer", "flange"] if round_plate else ["plate", "panel", "tile", "board"]
    )
    return Shape(solid, nouns, ["flat", "thin", "perforated" if holed else "studded"], parts)


def machined(rng: Rng) -> Shape:
    """Draw a block or cylinder with bosses, bores, pockets and slots cut into it."""
    height = rng.uniform(0.3, 1.4)
    blocky = rng.random() < 0.55
    x, y = 1.0, rng.uniform(0.5, 1)
    outline = rectangle(2 * x, 2 * y) if blocky else disc(1.0, corners=72)
    y = y if blocky else 1.0
    solid, parts = extrude([outline], height), []
    if rng.random() < 0.6:
        radius, tall = rng.uniform(0.25, 0.6) * y, rng.uniform(0.1, 0.9)
        corners = int(pick(rng, [4, 6, 56, 56]))
        boss = moved(
            extrude([disc(radius, corners=corners)], tall),
            None,
            (0, 0, (height + tall) / 2 - 0.01),
        )
        solid, parts = union(solid, boss), ["a raised boss"]
    tools = []
    if rng.random() < 0.6:
        tools.append(extrude([disc(rng.uniform(0.1, 0.22) * y, corners=48)], 6))
        parts.append("a bore through the middle")
    if rng.random() < 0.5:
        wide, deep = rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.5) * height
        tools.append(
            moved(
                extrude([rectangle(wide, 3)], 1),
                None,
                (rng.uniform(-0.6, 0.6), 0, height / 2 + 0.5 - deep),
            )
        )
        parts.append("a slot across")
    if rng.random() < 0.5:
        number, size = int(rng.integers(2, 7)), rng.uniform(0.06, 0.12)
        for i in range(number):
            a = 2 * np.pi * i / number + np.pi / 4
            tools.append(
                moved(
                    extrude([disc(size, corners=32)], 4),
                    None,
                    (0.76 * x * np.cos(a), 0.76 * y * np.sin(a), 0),
                )
            )
        parts.append(f"{count_word(number)} drilled holes")
    if rng.random() < 0.3:
        side = extrude([disc(rng.uniform(0.1, 0.35) * height, corners=48)], 4)
        tools.append(moved(side, TIPPED))
        parts.append("a cross bore")
    solid = difference(solid, *tools) if tools else solid
    nouns = ["machine part", "block", "housing"]
    if not blocky:
        # a circle of bolt holes is what makes a flange of a hub
        bolted = any("drilled" in part for part in parts)
        nouns = ["flange", "hub", "machine part"] if bolted else ["hub", "cap", "machine part"]
    return Shape(
        solid, nouns, ["machined", "blocky" if blocky else "cylindrical"], parts or ["sharp edges"]
    )


def spoked(rng: Rng) -> Shape:
    """Set arms around a hub, free or within a rim: wheels, fans, star knobs, windmills."""
    number, rimmed = int(rng.integers(2, 10)), rng.random() < 0.6
    hub, tall, flat = rng.uniform(0.12, 0.4), rng.uniform(0.1, 0.7), rng.uniform(0.04, 0.2)
    wide, tip = rng.uniform(0.05, 0.2) * 6 / (number + 3), rng.uniform(0.4, 2.0)
    tilt = rng.uniform(0.25, 0.9) if not rimmed and rng.random() < 0.6 else 0.0
    reach = np.sqrt(1 - (wide * tip) ** 2) if rimmed else rng.uniform(1.3, 4) * hub
    tall *= reach
    outline = np.array([(0, -wide), (reach, -wide * tip), (reach, wide * tip), (0, wide)])
    pieces = [extrude([disc(hub, corners=56)], tall)]
    for i in range(number):
        # of faces in one plane both would stay, so no two arms are equally thick
        arm = moved(extrude([outline], flat * (1 + 0.004 * i)), about_x(tilt))
        pieces.append(moved(arm, about_z(2 * np.pi * i / number)))
    parts = [f"{count_word(number)} {'spokes' if rimmed else 'blades' if tilt else 'arms'}"]
    if rimmed:
        thick, high = rng.uniform(0.05, 0.18), rng.uniform(0.06, 0.4)
        edge = rectangle(2 * thick, high) if rng.random() < 0.5 else disc(1.0) * (thick, high / 2)
        pieces.append(revolve(edge + np.array([1.0, 0.0])))
        parts.append("a rim")
    solid = union(*pieces)
    if rng.random() < 0.6:
        solid = difference(solid, extrude([disc(rng.uniform(0.2, 0.7) * hub)], 2.0))
        parts.append("a bore through its hub")
    if rimmed:
        nouns, traits = ["wheel", "steering wheel"], ["round", "spoked"]
    elif tilt:
        nouns, traits = ["propeller", "fan"], ["bladed"]
    elif number == 2:
        nouns, traits = ["lever", "handle"], ["long"]
    elif reach < 2 * hub:
        nouns, traits = ["star knob", "star"], ["star-shaped"]
    else:
        nouns, traits = ["windmill", "star", "turnstile"], ["star-shaped"]
    return Shape(solid, nouns, traits, parts)
