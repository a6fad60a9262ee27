"""Every kind of defect by one name, "<maker>:<kind>", and which of them training never sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from btp.data.synthesis import defects
from btp.errors import ConfigError, DataError
from btp.pretraining.makers import fields, solids
from btp.pretraining.makers.place import Cloud, Outcome, Rng, cloud_of, log_uniform

MIN_LABELLED = 12
"""A defect of fewer points is none that a scan of this density shows; another one is drawn."""
TRIES = 8
WIDE_FRACTION = (0.004, 0.08)
WIDE_DEPTH = (0.012, 0.12)
"""Labelled share and depth of `btp.data.synthesis.defects` here, wider than its own."""


def _smooth(kind: str, cloud: Cloud, rng: Rng) -> Outcome:
    fraction, depth = log_uniform(rng, *WIDE_FRACTION), log_uniform(rng, *WIDE_DEPTH)
    found = defects.apply(kind, cloud.points, cloud.normals, rng, fraction, depth)
    return Outcome(found[0].astype(np.float64), found[1])


MAKERS: dict[str, dict[str, Callable[[Cloud, Rng], Outcome]]] = {
    "smooth": {kind: partial(_smooth, kind) for kind in defects.KINDS},
    "fields": fields.KINDS,
    "solids": solids.KINDS,
}

ALL = tuple(sorted(f"{maker}:{kind}" for maker, kinds in MAKERS.items() for kind in kinds))

UNSEEN_MAKER = "fields"
UNSEEN_KINDS = ("solids:burred", "solids:misplaced", "solids:pitted", "solids:slit")
"""Kept from training with all of `UNSEEN_MAKER`: a third of the kinds that are new here."""

UNSEEN = tuple(n for n in ALL if n.startswith(f"{UNSEEN_MAKER}:") or n in UNSEEN_KINDS)
SEEN = tuple(name for name in ALL if name not in UNSEEN)


def apply(
    name: str, points: NDArray, normals: NDArray, rng: Rng
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Put one defect on a densely sampled surface, at a random place.

    Args:
        name: one of `ALL`.
        points: [N, 3], any units.
        normals: [N, 3], unit, outward.
        rng: decides place, size and depth.

    Returns:
        Points [M, 3] and the labels [M] of the defective ones.

    Raises:
        ConfigError: if there is no such kind.
        DataError: if no place of several would show the defect.
    """
    maker, _, kind = name.partition(":")
    make = MAKERS.get(maker, {}).get(kind)
    if make is None:
        raise ConfigError(f"unknown defect {name!r}; expected one of {', '.join(ALL)}")
    cloud = cloud_of(points, normals)
    for _ in range(TRIES):
        found = make(cloud, rng)
        if MIN_LABELLED <= found.labels.sum() <= 0.25 * len(found.labels):
            return found.points, found.labels
    raise DataError(
        f"{name}: no place on this surface of {len(points)} points shows it; sample the surface "
        "more densely, or draw another kind"
    )
