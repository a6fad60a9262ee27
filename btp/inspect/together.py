"""Judge a person's scans by one another, and by good ones."""

from __future__ import annotations

from collections.abc import Sequence

from btp.data.coverage import Coverage
from btp.data.scan_objects import Scan
from btp.errors import ConfigError
from btp.evaluation.patch_distances import DescribedScan
from btp.evaluation.together import Judge, Judgement, point_scores
from btp.inspect.reference import GoodScans, another_part
from btp.inspect.scan import ReadyScan, ScoredScan, average_samplings
from btp.inspect.scan_model import ScanModel
from btp.types import ALONE

FEWEST = 3
"""Scans of a batch that judge one another at least: of two that differ, either may be the odd
one."""


def remember(
    inspector: ScanModel, scans: Sequence[Scan], coverage: Coverage, progress: bool = False
) -> GoodScans:
    """Describe good scans, so that others can be judged against them.

    Raises:
        DataError: if a scan cannot be read or used.
        ConfigError: if there is none.
    """
    if not scans:
        raise ConfigError("the reference has no scans; give at least one good scan")
    described = [each for _, each in inspector.described(scans, coverage, progress)]
    return GoodScans(inspector.digest, coverage, tuple(described))


def score_together(
    inspector: ScanModel,
    scans: Sequence[Scan],
    coverage: Coverage,
    together: bool,
    reference: GoodScans | None,
    progress: bool = False,
) -> list[ScoredScan]:
    """Score scans by one another, by good ones, or by both.

    Args:
        inspector: the detector.
        scans: all of one part.
        coverage: as in `Inspector.predict`.
        together: whether to judge the scans by one another.
        reference: good scans, or None.
        progress: whether to show it.

    Raises:
        ConfigError: if the scans are too few to judge one another, or the reference was made with
            another detector or coverage.
        DataError: if no scan agrees with the good ones.
    """
    if together and len(scans) < FEWEST:
        raise ConfigError(
            f"together=True with {len(scans)} scans; at least {FEWEST} are needed to judge one "
            "another. Leave it out, or give good scans as reference"
        )
    if reference is not None:
        reference.check(inspector.digest, coverage)
    ready, described = zip(*inspector.described(scans, coverage, progress), strict=True)
    good = () if reference is None else reference.scans
    judge = Judge(described if together else (), good, device=inspector.model.device)
    if good and not any(judge.knows(scan) for scan in described):
        whom = "those of the scan" if len(scans) == 1 else "any scan"
        raise another_part(f"the extents of none of the {len(good)} good scans agree with {whom}")
    uncovered = inspector.detector.config.uncovered
    return [judged_scan(*each, judge, uncovered) for each in zip(ready, described, strict=True)]


def judged_scan(
    ready: ReadyScan, described: DescribedScan, judge: Judge, uncovered: str
) -> ScoredScan:
    """Score one scan by others.

    Args:
        ready: the scan.
        described: likewise.
        judge: holds the others.
        uncovered: as in `DetectorConfig`.

    Raises:
        DataError: if a score is not finite.
    """
    judgement = judge(described)
    objects = judgement.object_logits.sigmoid().numpy()
    values = point_scores(described, judgement.patch_logits, uncovered).numpy()
    return average_samplings(ready, objects, values, explain(judgement))


def explain(judgement: Judgement) -> str:
    """Say in words what a scan was judged by."""
    ways = []
    if judgement.others:
        ways.append(f"together with {judgement.others} scans")
    if judgement.good:
        ways.append(f"against {judgement.good} good scan{'s' * (judgement.good > 1)}")
    return " and ".join(ways) or ALONE
