"""The results of a folder as one page to look at: the worst scans first, in three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from btp.drawing.viewer import ViewedScan, write_viewer
from btp.errors import ConfigError
from btp.inspect.outputs import Outputs, Result
from btp.inspect.score_table import worst_first

MOST = 50
"""Scans that a page shows; with 20,000 points each it stays under 40 MB."""


@dataclass(frozen=True)
class Inspected:
    """What `btp.inspect.folder.inspect` made with one detector.

    Attributes:
        detector: name, as the page shows it.
        folder: of the results.
        results: of all scans.
        threshold: of point scores, of their regions.
    """

    detector: str
    folder: Path
    results: Sequence[Result]
    threshold: float


def write_overview(path: Path, inspections: Sequence[Inspected], most: int = MOST) -> int | None:
    """Write a page with the scans of the highest object scores.

    Heat maps are read back from disk one by one, so that memory does not grow with the scans.

    Args:
        path: of the HTML file.
        inspections: by one detector, or by several of the same scans, shown side by side; the
            first one's scores decide on the order, and its regions are shown.
        most: scans.

    Returns:
        How many scored scans the page leaves out; None where no scan was scored, so that there is
        no page.

    Raises:
        ConfigError: if two detectors have one name.
        DataError: if a heat map is gone, or the page cannot be written.
    """
    names = [inspected.detector for inspected in inspections]
    if len(set(names)) < len(names):
        raise ConfigError(f"detectors to compare are both called {names[0]}; choose another")
    scored = [{r.file: r for r in each.results if not r.error} for each in inspections]
    common = [r for r in worst_first(list(scored[0].values())) if all(r.file in s for s in scored)]
    if not common:
        path.unlink(missing_ok=True)
        return None
    shown, left = common[:most], len(common) - most
    title = f"{' and '.join(names)}: {len(shown):,} scans" + (
        f", the highest scores of {len(common):,}" if left > 0 else ""
    )
    write_viewer(path, _viewed(inspections, scored, shown), title)
    return max(left, 0)


def _viewed(
    inspections: Sequence[Inspected], scored: Sequence[dict[str, Result]], shown: Sequence[Result]
) -> Iterator[ViewedScan]:
    for result in shown:
        maps = [Outputs(each.folder, result.file).scores() for each in inspections]
        names = [each.detector for each in inspections]
        yield ViewedScan(
            name=result.file,
            category="",
            points=maps[0].points,
            scores={name: heat.scores for name, heat in zip(names, maps, strict=True)},
            object_scores={
                name: each[result.file].object_score or 0.0
                for name, each in zip(names, scored, strict=True)
            },
            regions=maps[0].regions,
            threshold=inspections[0].threshold,
            decision=result.verdict,
        )
