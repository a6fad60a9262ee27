"""Charts of numbers: Table 2 as a heat map, and how object scores separate good from defective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from btp.drawing.theme import BLANK, INK, PAGE, SERIES, new_figure
from btp.metrics import object_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NORMAL, DEFECTIVE = SERIES[0], SERIES[1]


@dataclass(frozen=True)
class Matrix:
    """Train categories by test categories.

    Attributes:
        rows: R train categories.
        columns: C test categories.
        values: float64 [R, C], nan where there is none, and where both are the same.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, cross: Mapping[tuple[str, str], float]) -> Matrix:
        """Sort (train, test) -> value into a matrix; a category on itself is left out."""
        rows = sorted({train for train, _ in cross})
        columns = sorted({name for pair in cross for name in pair})
        values = np.full((len(rows), len(columns)), np.nan)
        for (train, test), value in cross.items():
            if train != test:
                values[rows.index(train), columns.index(test)] = value
        return cls(tuple(rows), tuple(columns), values)

    @property
    def row_means(self) -> NDArray[np.float64]:
        """Mean of each row over its test categories [R]; nan unless it has all of them."""
        means = []
        for train, line in zip(self.rows, self.values, strict=True):
            others = line[[column != train for column in self.columns]]
            means.append(float(others.mean()) if len(others) else np.nan)
        return np.array(means)


def draw_matrix(matrix: Matrix, path: Path, caption: str = "") -> None:
    """Draw a matrix as a heat map with its numbers, in percent, and its row means.

    Cells of a category on itself are grey; cells without a value hold a dash.

    Args:
        matrix: values in 0..1.
        path: of the PNG.
        caption: above it.
    """
    percent = 100 * np.column_stack([matrix.values, matrix.row_means])
    lines, columns = percent.shape
    width, height = 0.56 * columns + 2.2, 0.42 * lines + 1.6
    with new_figure(path, width, height) as figure:
        ax = figure.subplots()
        ax.set_facecolor(BLANK)
        image = ax.imshow(np.ma.masked_invalid(percent), cmap="cividis", aspect="auto")
        for row, column in np.ndindex(lines, columns):
            _write_cell(ax, matrix, row, column, percent)
        ax.set_xticks(range(columns), [*matrix.columns, "mean"], rotation=40, ha="left")
        ax.set_yticks(range(lines), matrix.rows)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.axvline(columns - 1.5, color=PAGE, lw=5)
        ax.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(lines + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=PAGE, lw=1.2, alpha=1)
        ax.tick_params(which="minor", length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_ylabel("trained on")
        ax.set_xlabel("tested on")
        ax.xaxis.set_label_position("top")
        bar = figure.colorbar(image, ax=ax, pad=0.02, aspect=25)
        bar.outline.set_visible(False)
        bar.set_label("%")
        figure.suptitle(caption, fontsize=10)


def _write_cell(
    ax: Axes, matrix: Matrix, row: int, column: int, percent: NDArray[np.float64]
) -> None:
    value = percent[row, column]
    if np.isnan(value):
        same = column < len(matrix.columns) and matrix.columns[column] == matrix.rows[row]
        ax.text(column, row, "" if same else "–", ha="center", va="center", color=INK)
        return
    low, high = np.nanmin(percent), np.nanmax(percent)
    bright = value > low + 0.5 * (high - low)  # cividis is dark below its middle
    ax.text(
        column,
        row,
        f"{value:.1f}",
        ha="center",
        va="center",
        color="#111111" if bright else "#ffffff",
        fontsize=7.5,
        weight="bold" if column == len(matrix.columns) else "normal",
    )


@dataclass(frozen=True)
class ObjectScores:
    """The object scores of one category.

    Attributes:
        anomalous: bool [M].
        scores: float [M].
    """

    anomalous: NDArray[np.bool_]
    scores: NDArray[np.floating]

    @property
    def auroc(self) -> float:
        """Object AUROC in 0..1; nan with one label only."""
        return object_metrics(self.anomalous, self.scores)["auroc"]


def draw_object_scores(
    categories: Mapping[str, ObjectScores], path: Path, caption: str = ""
) -> None:
    """Draw every scan's object score: in each category normal on the left, defective on the right.

    Behind the scans their density and its median; below the category's name its AUROC.

    Args:
        categories: by name.
        path: of the PNG.
        caption: above it.
    """
    with new_figure(path, 0.85 * len(categories) + 1.6, 3.9) as figure:
        ax = figure.subplots()
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        for at, given in enumerate(categories.values()):
            _draw_side(ax, at, -1, given.scores[~given.anomalous], NORMAL)
            _draw_side(ax, at, +1, given.scores[given.anomalous], DEFECTIVE)
        names = [f"{name}\n{_percent(given.auroc)}" for name, given in categories.items()]
        ax.set_xticks(range(len(names)), names)
        ax.tick_params(axis="x", length=0)
        ax.set_xlim(-0.6, len(names) - 0.4)
        ax.set_ylabel("object score")
        ax.set_xlabel("category, and object AUROC in percent")
        ax.plot([], [], "o", color=NORMAL, ms=5, label="normal scan")
        ax.plot([], [], "D", color=DEFECTIVE, ms=4.5, label="defective scan")
        figure.legend(loc="outside upper right", ncols=2)
        figure.suptitle(caption, fontsize=10, x=0.01, ha="left")


def _draw_side(ax: Axes, at: float, side: int, scores: NDArray[np.floating], colour: str) -> None:
    """Half a violin to one side of `at`, and the scans as marks in front of it."""
    if not len(scores):
        return
    centre = at + side * 0.05
    if len(scores) > 1 and np.ptp(scores) > 0:
        half = ax.violinplot(
            [scores],
            [centre],
            widths=0.72,
            showextrema=False,
            showmedians=True,
            side="low" if side < 0 else "high",
            facecolor=(colour, 0.22),
            linecolor=colour,
        )
        half["cmedians"].set_linewidth(2)
    # Spread by rank, not at random: the same scores always give the same picture.
    spread = (np.argsort(np.argsort(scores, kind="stable")) * 0.618034) % 1
    ax.scatter(
        centre + side * (0.02 + 0.2 * spread),
        scores,
        s=9 if side < 0 else 8,
        marker="o" if side < 0 else "D",
        color=colour,
        alpha=0.8,
        linewidths=0,
    )


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
