"""Write a page that shows the worst scans of a folder in three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from btp.drawing.viewer import ViewedScan, write_viewer
from btp.errors import ConfigError
from btp.inspect.outputs import ScanOutputs, ScanResult
from btp.inspect.score_table import worst_first

MAX_SCANS = 50
"""Scans that a page shows; with 20,000 points each it stays under 40 MB."""


@dataclass(frozen=True)
class ScoredFolder:
    """The results of `btp.inspect.folder.score_folder` with one detector.

    Attributes:
        detector: name, as the page shows it.
        folder: of the results.
        results: of all scans.
        threshold: of point scores, above which points belong to a region.
    """

    detector: str
    folder: Path
    results: Sequence[ScanResult]
    threshold: float


def write_overview(
    path: Path, folders: Sequence[ScoredFolder], max_scans: int = MAX_SCANS
) -> int | None:
    """Write a page with the scans of the highest object scores.

    Heat maps are read back from disk one by one, so that memory does not grow with their number.

    Args:
        path: of the HTML file.
        folders: the results of one detector; or of several for the same scans, to be shown side by
            side. The first one decides on the order, and its regions are shown.
        max_scans: shown at most.

    Returns:
        How many scored scans the page leaves out; None if no scan was scored, and so no page was
        written.

    Raises:
        ConfigError: if two detectors have one name.
        DataError: if a heat map is gone, or the page cannot be written.
    """
    names = [folder.detector for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(f"detectors to compare are both called {names[0]}; choose another")
    scored = [{r.file: r for r in folder.results if not r.error} for folder in folders]
    common = [r for r in worst_first(list(scored[0].values())) if all(r.file in s for s in scored)]
    if not common:
        path.unlink(missing_ok=True)
        return None
    shown, left = common[:max_scans], len(common) - max_scans
    title = f"{' and '.join(names)}: {len(shown):,} scans" + (
        f", the highest scores of {len(common):,}" if left > 0 else ""
    )
    write_viewer(path, _viewed(folders, scored, shown), title)
    return max(left, 0)


def _viewed(
    folders: Sequence[ScoredFolder],
    scored: Sequence[dict[str, ScanResult]],
    shown: Sequence[ScanResult],
) -> Iterator[ViewedScan]:
    names = [each.detector for each in folders]
    for result in shown:
        maps = [ScanOutputs(each.folder, result.file).read_heat_map() for each in folders]
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
            threshold=folders[0].threshold,
            decision=result.verdict,
        )
