"""Training curves: read back from runs' TensorBoard files, averaged over seeds, drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btp.drawing.theme import SERIES, new_figure
from btp.errors import DataError

TERMS = "loss/"  # what the tags of loss terms begin with
TITLES = {
    "loss/total": "total loss (Eq. 8)",
    "loss/focal": "focal",
    "loss/dice": "dice",
    "loss/bce": "BCE, objects",
    "loss/info_nce": "InfoNCE, geometry",
}
_STYLES = ("-", "--", ":")  # one more each time the colours are used up


@dataclass(frozen=True)
class Curve:
    """One scalar over the epochs of several runs.

    Attributes:
        epochs: int64 [E], counted from 1, those that all runs have.
        values: float64 [runs, E].
    """

    epochs: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the runs: [E]."""
        return np.asarray(self.values.mean(0))

    @property
    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest value of the runs: [E] each."""
        return self.values.min(0), self.values.max(0)


def read_scalars(run: Path) -> dict[str, dict[int, float]]:
    """Read the scalars that a run wrote for TensorBoard.

    Args:
        run: its folder, with tensorboard/ in it. A resumed run has several files there; where they
            overlap, the later one counts.

    Returns:
        Tag -> step -> value.

    Raises:
        DataError: if there is nothing.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "tensorboard"
    found: dict[str, dict[int, float]] = {}
    if folder.is_dir():
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            found[tag] = {event.step: event.value for event in events.Scalars(tag)}
    if not found:
        raise DataError(
            f"{folder}: no scalars of a training; expected the TensorBoard files of a run. Train "
            "again, or leave its curves out"
        )
    return found


def read_curves(runs: Sequence[Path]) -> dict[str, Curve]:
    """Read the loss terms of runs that differ in their seed.

    Args:
        runs: their folders.

    Returns:
        By tag, every loss term that all runs have: those of `TITLES` first.

    Raises:
        DataError: if a run has none.
    """
    read = [read_scalars(run) for run in runs]
    shared = set.intersection(*(set(scalars) for scalars in read)) if read else set()
    curves = {}
    for tag in ordered(tag for tag in shared if tag.startswith(TERMS)):
        steps = sorted(set.intersection(*(set(scalars[tag]) for scalars in read)))
        values = [[scalars[tag][step] for step in steps] for scalars in read]
        curves[tag] = Curve(np.array(steps, np.int64) + 1, np.array(values, np.float64))
    return curves


def ordered(tags: Iterable[str]) -> list[str]:
    """Sort tags: those of `TITLES` in its order, then any others by name."""
    known = list(TITLES)
    return sorted(
        set(tags), key=lambda tag: (known.index(tag) if tag in TITLES else len(known), tag)
    )


def draw_curves(groups: Mapping[str, Mapping[str, Curve]], path: Path, caption: str = "") -> None:
    """Draw each scalar in a panel of its own: mean over runs, in a band from lowest to highest.

    Args:
        groups: name in the legend -> `read_curves`' result.
        path: of the PNG.
        caption: above everything.
    """
    tags = ordered(tag for curves in groups.values() for tag in curves)
    columns = min(3, len(tags))
    lines = -(-len(tags) // columns)
    with new_figure(path, 3.3 * columns + 0.4, 2.5 * lines + 0.9) as figure:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for tag, ax in zip(tags, axes, strict=False):
            for number, (name, curves) in enumerate(groups.items()):
                if tag in curves:
                    curve = curves[tag]
                    colour = SERIES[number % len(SERIES)]
                    style = _STYLES[number // len(SERIES) % len(_STYLES)]
                    label = f"{name} ({_runs(len(curve.values))})"
                    ax.plot(curve.epochs, curve.mean, style, color=colour, lw=1.6, label=label)
                    ax.fill_between(curve.epochs, *curve.band, color=colour, alpha=0.18, lw=0)
            ax.set_title(TITLES.get(tag, tag.removeprefix(TERMS)), loc="left")
            ax.grid(axis="y")
            ax.set_ylim(bottom=0)
            ax.margins(x=0.01)
            ax.set_xlabel("epoch")
        for ax in axes[len(tags) :]:
            ax.set_axis_off()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
        figure.suptitle(caption, fontsize=10)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
