"""Colours that all pictures share, and writing a figure to a PNG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btp.runtime.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# One scale everywhere: grey, so that shading shows the shape, to ever darker red. Its lightness
# falls steadily, so it reads without colour vision too.
COLOURS = ("#d0d0d0", "#fdc776", "#f1701f", "#b5121b", "#5c0010")
# Told apart without colour vision too (Okabe and Ito 2008).
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DOTS_PER_INCH = 144

PAGE = "#ffffff"
INK = "#1a1a1a"
FAINT = "#b8b8b8"  # lines and marks that should not draw the eye
BLANK = "#dcdcdc"  # cells of a heat map without a value


def anomaly_colours() -> Colormap:
    """Return `COLOURS` as a continuous colour map."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("anomaly", COLOURS)


@contextmanager
def new_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Open a figure that is written as a PNG when the block ends.

    Args:
        path: of the PNG.
        width: in inches.
        height: likewise.
    """
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    settings: Any = {
        "figure.facecolor": PAGE,
        "axes.facecolor": PAGE,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "grid.color": FAINT,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
            INK,
        ),
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=DOTS_PER_INCH))
