"""How all pictures look: colours, light and dark pages, and writing a figure to a PNG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
DOTS = 144  # a inch


@dataclass(frozen=True)
class Theme:
    """A page's colours.

    Attributes:
        page: background.
        ink: text.
        faint: lines and marks that should not draw the eye.
        blank: cells of a heat map without a value.
    """

    page: str
    ink: str
    faint: str
    blank: str


LIGHT = Theme(page="#ffffff", ink="#1a1a1a", faint="#b8b8b8", blank="#dcdcdc")
DARK = Theme(page="#15181c", ink="#e8e8e8", faint="#555b63", blank="#343a41")


def theme(dark: bool) -> Theme:
    """The light or the dark one."""
    return DARK if dark else LIGHT


def anomaly_colours() -> Colormap:
    """`COLOURS` as a continuous scale."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("anomaly", COLOURS)


@contextmanager
def new_figure(path: Path, width: float, height: float, look: Theme) -> Iterator[Figure]:
    """A figure that is written as PNG when the block ends; its text is in the theme's ink.

    Args:
        path: of the PNG.
        width: in inches.
        height: likewise.
        look: the page's colours.
    """
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    settings: Any = {
        "figure.facecolor": look.page,
        "axes.facecolor": look.page,
        "axes.edgecolor": look.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "grid.color": look.faint,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
            look.ink,
        ),
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=DOTS))
