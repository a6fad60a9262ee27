"""Pictures of clouds: shaded points, scores in colour, ground truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from btp.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

# One scale everywhere: grey, so that shading shows the shape, to ever darker red. Its lightness
# falls steadily, so it reads without colour vision too.
COLOURS = ("#d0d0d0", "#fdc776", "#f1701f", "#b5121b", "#5c0010")
AZIMUTH, ELEVATION = np.deg2rad(35.0), np.deg2rad(25.0)
_LIGHT = np.array([-0.4, 0.5, 0.77])  # from the viewer's upper left


@dataclass(frozen=True)
class Panel:
    """One cloud, seen from one side.

    Attributes:
        title: above it.
        points: float [R, 3].
        values: float [R] in 0..1, or None for the bare shape.
        view: rotation [3, 3] as of `camera`; None for the row's.
    """

    title: str
    points: NDArray[np.floating]
    values: NDArray[np.floating] | None = None
    view: NDArray[np.float64] | None = None


def draw(
    rows: Sequence[Sequence[Panel]], path: Path, caption: str = "", highest: float = 1.0
) -> None:
    """Draw rows of panels, each row with one camera, into a PNG.

    Args:
        rows: panels of a row show the same cloud.
        path: of the PNG.
        caption: above everything.
        highest: what the colour bar writes at a value of 1.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.6 * columns + 0.9, 2.7 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for ax in line:
            ax.set_axis_off()
        camera = facing(row)
        for panel, ax in zip(row, line, strict=False):
            _draw_panel(ax, panel, camera if panel.view is None else panel.view)
    figure.suptitle(caption, fontsize=10)
    mapped = ScalarMappable(Normalize(0, highest), _colours())
    bar = figure.colorbar(mapped, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("anomaly score / label")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=130))


def draw_around(
    points: NDArray[np.floating],
    values: NDArray[np.floating],
    path: Path,
    caption: str = "",
    highest: float = 1.0,
) -> None:
    """Draw one cloud from three sides, the first facing its highest values, into a PNG.

    Args:
        points: [R, 3].
        values: [R] in 0..`highest`.
        path: of the PNG.
        caption: above everything.
        highest: value of the darkest colour.
    """
    shown = values / highest
    front = facing([Panel("", points, (shown >= np.quantile(shown, 0.99)).astype(float))])
    around = {"facing the highest score": 0, "turned by 120°": 120, "turned by 240°": 240}
    panels = [Panel(title, points, shown, turned(front, turn)) for title, turn in around.items()]
    draw([panels], path, caption, highest)


def paint(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The pictures' colours of values in 0..1: red, green, blue [R, 3]; black where not finite."""
    table = (_colours()(np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    known = np.isfinite(values)
    colours = table[np.where(known, 255 * np.clip(values, 0, 1), 0).astype(np.uint8)]
    colours[~known] = 0
    return colours


def camera(azimuth: float = AZIMUTH, elevation: float = ELEVATION) -> NDArray[np.float64]:
    """Rotation [3, 3] whose rows point right, up and towards the viewer."""
    towards = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(towards, right), towards])


def turned(view: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """A camera [3, 3] moved around the vertical axis."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return view @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def facing(row: Sequence[Panel]) -> NDArray[np.float64]:
    """The camera, of eight around, that sees most of what the row's first 0/1 panel marks."""
    marked = next(
        (p for p in row if p.values is not None and set(np.unique(p.values)) == {0, 1}), None
    )
    if marked is None or marked.values is None:
        return camera()
    spot = marked.points[marked.values > 0].mean(0) - marked.points.mean(0)
    views = [
        camera(AZIMUTH + step * np.pi / 4, side * ELEVATION)
        for step in range(8)
        for side in (1, -1)
    ]
    return max(views, key=lambda view: float(view[2] @ spot))


def _draw_panel(ax: Axes, panel: Panel, view: NDArray[np.float64]) -> None:
    seen = (panel.points - panel.points.mean(0)) @ view.T
    normals = _normals(panel.points) @ view.T
    normals *= np.sign(normals[:, 2:] + 1e-9)  # towards the viewer
    shade = 0.35 + 0.65 * np.clip(normals @ _LIGHT, 0, 1)
    if panel.values is None:
        colour = np.full((len(seen), 3), 0.8)
    else:
        colour = _colours()(np.clip(panel.values, 0, 1))[:, :3]
    order = np.argsort(seen[:, 2])  # the nearest last, on top
    size = 40_000 / len(seen)  # neighbours just overlap, so that the back does not shine through
    ax.scatter(
        seen[order, 0],
        seen[order, 1],
        c=(colour * shade[:, None])[order],
        s=np.clip(size, 0.5, 14),
        linewidths=0,
        rasterized=True,
    )
    ax.set_aspect("equal")
    ax.set_title(panel.title, fontsize=8)


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("anomaly", COLOURS)


def _normals(points: NDArray[np.floating]) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    from btp.normals import estimate_normals

    tree = cKDTree(points)
    spacing = float(np.median(tree.query(points[:: max(1, len(points) // 500)], k=2)[0][:, 1]))
    return np.asarray(estimate_normals(tree, 6 * spacing, 24), dtype=np.float64)
