"""Draw clouds as shaded discs: one for each point, in its tangent plane, the nearest in front.

Discs that follow the surface close the gaps between points, so that a defect on the back does not
shine through, which it does where points are drawn as dots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]

_LIGHT = np.array([-0.45, 0.55, 0.70])  # from the viewer's upper left
_AMBIENT = 0.45
_VIVID = 0.6  # share of the shade that a fully vivid point is spared
_FOG = 0.30  # share of the page's colour at the far end: what is further is fainter
_OVERSAMPLED = 2
_MARGIN = 0.03  # of the picture, left free on each side
_NEIGHBOUR = 6  # that a disc reaches: wide enough to close the gaps of random sampling
_MAX_RADIUS = 2.0  # in medians of all discs
_MIN_PIXELS, _MAX_PIXELS = 1.5, 18.0  # disc radius
_RIM = 0.5  # how far a disc's rim lies back, in radii, so that each pixel is the nearest point's
_MIN_FACING = 0.25  # of a normal's component to the viewer: flatter discs would be needles


@dataclass(frozen=True)
class DiscCloud:
    """A cloud of discs that can be drawn from any side.

    Attributes:
        points: float64 [R, 3], about their mean.
        normals: float64 [R, 3], of unit length and either sign.
        radii: float64 [R], of the discs, in the points' unit.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def from_points(cls, points: NDArray[np.floating]) -> DiscCloud:
        """Estimate the normals and radii that turn points [R, 3] into a closed surface."""
        from scipy.spatial import cKDTree

        from btp.geometry.normals import estimate_normals

        local = np.asarray(points, np.float64) - points.mean(0, dtype=np.float64)
        tree = cKDTree(local)
        radii = tree.query(local, k=[min(_NEIGHBOUR + 1, len(local))])[0][:, 0]
        usual = float(np.median(radii)) or float(np.ptp(local)) or 1.0  # doubled points: any
        normals = np.asarray(estimate_normals(tree, 2.5 * usual, 40), np.float64)
        return cls(local, normals, np.minimum(radii, _MAX_RADIUS * usual))


@dataclass(frozen=True)
class DepthBuffer:
    """The disc in front at each pixel of a picture from one side, whatever its colours.

    Attributes:
        normals: float64 [R, 3], as the viewer sees them: to the right, up, and towards the viewer.
        owner: int64 [S, S], the row of the point in front at each pixel, -1 for none.
        depth: float64 [S, S], of that point's disc, in pixels towards the viewer.
    """

    normals: NDArray[np.float64]
    owner: NDArray[np.int64]
    depth: Pixels


def find_front(discs: DiscCloud, view: NDArray[np.float64], side: int) -> DepthBuffer:
    """Find the disc in front at each pixel.

    Args:
        discs: the cloud; it fills the picture.
        view: rotation [3, 3] as of `btp.drawing.cameras`.
        side: S, of the square picture in pixels.
    """
    seen = discs.points @ view.T
    normals = discs.normals @ view.T
    normals *= np.where(normals[:, 2:] < 0, -1.0, 1.0)  # towards the viewer
    low, high = seen.min(0), seen.max(0)
    scale = side * (1 - 2 * _MARGIN) / max(float((high - low)[:2].max()), 1e-12)
    at = (seen - (low + high) / 2) * scale
    at[:, 0] += side / 2
    at[:, 1] = side / 2 - at[:, 1]  # rows run downwards
    radii = np.clip(discs.radii * scale, _MIN_PIXELS, _MAX_PIXELS)
    order = np.argsort(at[:, 2])
    owner, depth = _nearest_discs(at[order], normals[order], radii[order], side)
    return DepthBuffer(normals, np.where(owner < 0, -1, order[owner]), depth)


def render(
    discs: DiscCloud,
    view: NDArray[np.float64],
    colours: Sequence[NDArray[np.floating]],
    size: int = 360,
    page: tuple[float, float, float] = (1.0, 1.0, 1.0),
    vivid: Sequence[NDArray[np.floating] | None] = (),
) -> list[Pixels]:
    """Draw a cloud from one side, once for each colouring of its points.

    Args:
        discs: the cloud.
        view: rotation [3, 3] as of `btp.drawing.cameras`.
        colours: each [R, 3], red, green, blue in 0..1.
        size: of the square pictures in pixels.
        page: colour that distance fades into.
        vivid: for each colouring [R] in 0..1, how far a point keeps its colour in shade; None, or
            a shorter list, for not at all.

    Returns:
        float64 [size, size, 4] each, red, green, blue and opacity in 0..1; 0 where nothing is.
    """
    front = find_front(discs, view, _OVERSAMPLED * size)
    shade = _AMBIENT + (1 - _AMBIENT) * np.clip(front.normals @ _LIGHT, 0, 1)
    drawn = front.owner >= 0
    depth = front.depth[drawn]
    fog = _FOG * ((depth.max() - depth) / max(float(np.ptp(depth)), 1e-12))[:, None]
    edges = _edges(front.depth, drawn)[drawn, None]
    pictures = []
    for number, colour in enumerate(colours):
        kept = vivid[number] if number < len(vivid) else None
        light = shade if kept is None else 1 - (1 - shade) * (1 - _VIVID * np.clip(kept, 0, 1))
        picture = np.zeros((*drawn.shape, 4))
        lit = (np.asarray(colour) * light[:, None])[front.owner[drawn]] * edges
        picture[drawn, :3] = (1 - fog) * lit + fog * np.asarray(page)
        picture[drawn, 3] = 1
        pictures.append(_shrunk(picture))
    return pictures


def _nearest_discs(
    at: Pixels, normals: NDArray[np.float64], radii: NDArray[np.float64], side: int
) -> tuple[NDArray[np.int64], Pixels]:
    """Fill a `DepthBuffer`'s owner and depth with discs at [R, 3] in pixels, the nearest last."""
    reach, limit, rim = int(np.ceil(radii.max())), radii * radii, _RIM / radii
    column, row = (np.floor(at[:, axis]).astype(np.int64) for axis in (0, 1))
    slope = normals[:, :2] / np.maximum(normals[:, 2:], _MIN_FACING)
    owner = np.full(side * side, -1, dtype=np.int64)
    depth = np.full(side * side, -np.inf)
    each = np.arange(len(at))
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            dx, dy = column + x + 0.5 - at[:, 0], row + y + 0.5 - at[:, 1]
            dz = slope[:, 1] * dy - slope[:, 0] * dx  # rows run against the y axis
            squared = dx * dx + dy * dy + dz * dz
            inside = (squared <= limit) & _within(column + x, row + y, side)
            pixel = ((row + y) * side + column + x)[inside]
            height = (at[:, 2] + dz - rim * squared)[inside]
            nearer = height > depth[pixel]
            # of several points on one pixel the last one stays, which is the nearest
            owner[pixel[nearer]] = each[inside][nearer]
            depth[pixel[nearer]] = height[nearer]
    return owner.reshape(side, side), depth.reshape(side, side)


def _within(column: NDArray[np.int64], row: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    return (column >= 0) & (column < side) & (row >= 0) & (row < side)


def _edges(depth: Pixels, drawn: NDArray[np.bool_]) -> Pixels:
    """Return a factor in 0..1 [S, S] that darkens pixels beside nearer ones (eye-dome lighting)."""
    total, side = np.zeros_like(depth), len(depth)
    step = max(1, side // 240)
    for shift in ((0, step), (0, -step), (step, 0), (-step, 0)):
        neighbour = np.roll(depth, shift, axis=(0, 1))
        known = drawn & np.isfinite(neighbour)
        total[known] += np.clip((neighbour[known] - depth[known]) / side - 0.01, 0, 0.08)
    return np.exp(-4 * total)


def _shrunk(picture: Pixels) -> Pixels:
    """Average blocks of pixels, colours weighted by opacity, so that outlines are smooth."""
    size, step = len(picture) // _OVERSAMPLED, _OVERSAMPLED
    picture[..., :3] *= picture[..., 3:]
    small = picture.reshape(size, step, size, step, 4).mean((1, 3))
    small[..., :3] /= np.maximum(small[..., 3:], 1e-9)
    return np.clip(small, 0, 1)
