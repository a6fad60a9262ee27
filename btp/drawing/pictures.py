"""Draw clouds as PNG pictures: shaded shapes, with scores or labels in colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from btp.drawing.cameras import camera, candidate_cameras, rotated
from btp.drawing.render import DiscCloud, Pixels, find_front, render
from btp.drawing.theme import DOTS_PER_INCH, PAGE, anomaly_colours, new_figure
from btp.geometry.sampling import thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARE = 0.8  # grey of a shape without values
PANEL_INCHES = 2.3
_MIN_HEIGHT = 0.35  # of a panel, by its width
_MAX_DRAWN = 30_000  # points of a cloud; more do not show at a panel's size
_CAMERA_POINTS, _CAMERA_PIXELS = 4_000, 100  # with which a camera is chosen


@dataclass(frozen=True)
class Panel:
    """One cloud, seen from one side.

    Attributes:
        title: above it.
        points: float [R, 3].
        values: float [R] in 0..1, or None for the bare shape.
        view: rotation [3, 3] as of `camera`; None for the row's.
        note: below it.
    """

    title: str
    points: NDArray[np.floating]
    values: NDArray[np.floating] | None = None
    view: NDArray[np.float64] | None = None
    note: str = ""


def draw(
    rows: Sequence[Sequence[Panel]],
    path: Path,
    caption: str = "",
    highest: float = 1.0,
    label: str = "anomaly score",
    names: Sequence[str] = (),
) -> None:
    """Draw a grid of panels into a PNG; the panels of a row share a camera.

    Args:
        rows: panels of a row show the same cloud.
        path: of the PNG.
        caption: above everything.
        highest: what the colour bar writes at a value of 1.
        label: of the colour bar: what the colours stand for.
        names: of the rows, on their left; none by default.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = max(len(row) for row in rows)
    images = [_cropped(_rendered(row)) for row in rows]
    heights = [len(line[0]) / line[0].shape[1] for line in images]
    size = PANEL_INCHES * columns + 1.1, PANEL_INCHES * sum(heights) + 0.4 * len(rows) + 0.4
    with new_figure(path, *size) as figure:
        axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for row, line, shown in zip(rows, axes, images, strict=True):
            for ax in line:
                _strip(ax)
            for panel, ax, image in zip(row, line, shown, strict=False):
                ax.imshow(image, interpolation="antialiased")
                ax.set_title(panel.title, fontsize=8.5)
                ax.set_xlabel(panel.note, fontsize=7.5)
        for name, ax in zip(names, axes[:, 0], strict=False):
            ax.set_ylabel(name, fontsize=8.5)
        if caption:
            figure.suptitle(caption, fontsize=10)
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, highest), anomaly_colours()),
            ax=axes,
            pad=0.02,
            shrink=min(0.85, 3.2 / size[1]),
            aspect=22,
        )
        bar.outline.set_visible(False)
        bar.set_label(label)


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
    front = best_camera(points, shown >= np.quantile(shown, 0.99))
    turns = {"facing the highest score": 0, "turned by 120°": 120, "turned by 240°": 240}
    panels = [Panel(title, points, shown, rotated(front, turn)) for title, turn in turns.items()]
    draw([panels], path, caption, highest)


def anomaly_rgb(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return red, green and blue [R, 3] of values in 0..1, as in the pictures; black for nan."""
    table = (anomaly_colours()(np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    known = np.isfinite(values)
    colours = table[np.where(known, 255 * np.clip(values, 0, 1), 0).astype(np.uint8)]
    colours[~known] = 0
    return colours


def camera_of_row(row: Sequence[Panel]) -> NDArray[np.float64]:
    """Choose the camera that sees most of what the row's first panel of 0/1 values marks."""
    for panel in row:
        if panel.values is not None and set(np.unique(panel.values)) == {0, 1}:
            return best_camera(panel.points, panel.values > 0)
    return camera()


def best_camera(points: NDArray[np.floating], marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Choose the camera that shows most of the marked points; a fixed one if none is marked.

    Args:
        points: [R, 3].
        marked: [R].
    """
    if not marked.any():
        return camera()
    kept = np.union1d(  # a small defect must not be thinned away
        thin(np.arange(len(points)), _CAMERA_POINTS),
        thin(np.flatnonzero(marked), _CAMERA_POINTS // 4),
    )
    discs = DiscCloud.from_points(points[kept])
    best, most_shown = camera(), -1.0
    for view, preference in candidate_cameras():
        owner = find_front(discs, view, _CAMERA_PIXELS).owner
        shown = preference * float(marked[kept][owner[owner >= 0]].sum())
        if shown > most_shown:
            best, most_shown = view, shown
    return best


def _rendered(row: Sequence[Panel]) -> list[Pixels]:
    """Render each panel as an image [S, S, 4]."""
    front = camera_of_row(row)
    images = []
    discs: dict[int, DiscCloud] = {}  # by the points, whatever side they are seen from
    # Panels mostly share points and camera, and what is in front is then looked up once.
    for _, same in groupby(row, key=lambda panel: (id(panel.points), id(panel.view))):
        panels = list(same)
        points = panels[0].points
        kept = thin(np.arange(len(points)), _MAX_DRAWN)
        if id(points) not in discs:
            discs[id(points)] = DiscCloud.from_points(points[kept])
        view = front if panels[0].view is None else panels[0].view
        images += _rendered_from(view, discs[id(points)], panels, kept)
    return images


def _rendered_from(
    view: NDArray[np.float64],
    discs: DiscCloud,
    panels: Sequence[Panel],
    kept: NDArray[np.int64],
) -> list[Pixels]:
    """Render panels of the same points, of which the rows `kept` are drawn, from one side."""
    from matplotlib.colors import to_rgb

    vivid = [None if p.values is None else np.clip(p.values[kept], 0, 1) for p in panels]
    bare = np.full((len(kept), 3), BARE)
    colours = [bare if v is None else anomaly_colours()(v)[:, :3] for v in vivid]
    size = int(PANEL_INCHES * DOTS_PER_INCH)
    return render(discs, view, colours, size, to_rgb(PAGE), vivid)


def _cropped(images: Sequence[Pixels]) -> list[Pixels]:
    """Cut off the pixel rows above and below that are empty in all images of a row."""
    size = len(images[0])
    used = np.flatnonzero(np.max([image[..., 3] for image in images], axis=0).any(axis=1))
    middle, half = (used[0] + used[-1] + 1) / 2, (used[-1] + 1 - used[0]) / 2
    half = max(half + 2, _MIN_HEIGHT * size / 2)
    low, high = max(0, int(middle - half)), min(size, int(np.ceil(middle + half)))
    return [image[low:high] for image in images]


def _strip(ax: Axes) -> None:
    """Remove frame and ticks, but not the labels."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
