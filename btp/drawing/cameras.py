"""Cameras as rotations whose rows point right, up and towards the viewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AZIMUTH, ELEVATION, STEEP = np.deg2rad(35.0), np.deg2rad(25.0), np.deg2rad(65.0)


def camera(azimuth: float = AZIMUTH, elevation: float = ELEVATION) -> NDArray[np.float64]:
    """Return the camera [3, 3] that looks from a direction, given by two angles in radians."""
    towards = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def rotated(view: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Move a camera [3, 3] around the vertical axis."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return view @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def candidate_cameras() -> list[tuple[NDArray[np.float64], float]]:
    """Return 24 cameras around an object, each with a preference in 0..1.

    Eight directions look a little from above and from below. Four look steeply, and are preferred
    less because they show less of an object's shape.
    """
    steps = [(step, ELEVATION, 1.0) for step in range(8)]
    steps += [(step, STEEP, 0.75) for step in range(0, 8, 2)]
    return [
        (camera(AZIMUTH + step * np.pi / 4, side * elevation), preference)
        for step, elevation, preference in steps
        for side in (1, -1)
    ]
