"""Which scans of a folder are judged by which others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch

from btp.errors import ConfigError
from btp.evaluation.patch_distances import DescribedScan, agreement, extents
from btp.evaluation.together import MOST_OTHERS, Judge
from btp.inspect.described_folder import DescribedFolder, KnownScan
from btp.inspect.reference import GoodScans, another_part
from btp.inspect.scan import ReadyScan, ScoredScan
from btp.inspect.together import FEWEST, judged_scan

Together = Literal["auto", "true", "false"]
FEWEST_ALIKE = 6
"""Scans that must be of one part before "auto" judges them together."""


@dataclass(frozen=True)
class Peers:
    """The scans that judge a scan.

    Attributes:
        group: name of the group of scans of one part, "" for none.
        judge: holds them.
        key: changes with what the judge holds.
    """

    group: str
    judge: Judge
    key: str

    def scored(self, ready: ReadyScan, described: DescribedScan, uncovered: str) -> ScoredScan:
        """Score a scan by these others."""
        return replace(judged_scan(ready, described, self.judge, uncovered), group=self.group)


def find_peers(
    folder: DescribedFolder,
    known: Sequence[KnownScan],
    together: Together,
    reference: GoodScans | None,
) -> dict[Path, Peers]:
    """Decide by which others each scan is judged.

    Args:
        folder: reads the descriptions.
        known: the scans.
        together: "true" judges all scans by one another; "auto" those evidently of one part, if
            there are at least `FEWEST_ALIKE`; "false" none.
        reference: good scans that each is judged against, or None.

    Raises:
        ConfigError: if `together` is unknown; or "true", and the scans are too few or of two parts.
        DataError: if the reference is of another part than every scan of a whole listing.
    """
    groups: list[list[int]] = []
    if together not in get_args(Together):
        raise ConfigError(f"together is {together!r}; expected {', '.join(get_args(Together))}")
    sizes = torch.stack([scan.extents for scan in known]) if known else torch.empty(0, 3)
    if together != "false":
        groups = [group for group in alike_groups(sizes) if len(group) >= FEWEST_ALIKE]
    if together == "true":
        _refuse_what_cannot_be_one_part(known, groups)
        groups = [list(range(len(known)))]
    good = () if reference is None else reference.scans
    if not folder.scans.share:  # a share may hold no scan of the part, and others do
        _refuse_another_part(sizes, good)
    device = folder.inspector.model.device
    good_key = _key(scan.digest for scan in good) if good else ""
    alone = Peers("", Judge(good=good, device=device), good_key)
    peers = {scan.path: alone for scan in known}
    for number, group in enumerate(groups, 1):
        members = [known[row] for row in group]
        chosen = _chosen(members)
        judge = Judge([folder.load(scan) for scan in chosen], good, device=device)
        key = _key([good_key, *(scan.digest for scan in chosen)])
        of_group = Peers(str(number), judge, key)
        peers |= {scan.path: of_group for scan in members}
    return peers


def alike_groups(sizes: torch.Tensor) -> list[list[int]]:
    """Group scans [A, 3] by extents that agree, the largest group first.

    A group is a scan with all that agree with it; the scan with most of them comes first, and its
    group is set aside before the next is found. So no chain of small differences joins what
    differs. The result does not depend on the order, but for ties.
    """
    left, groups = torch.arange(len(sizes)), []
    while len(left):
        agrees = agreement(sizes[left], sizes[left])
        members = agrees[agrees.sum(1).argmax()]
        groups.append(left[members].tolist())
        left = left[~members]
    return sorted(groups, key=lambda group: (-len(group), group))


def _chosen(members: Sequence[KnownScan], seed: int = 0) -> list[KnownScan]:
    """Choose the scans that a group is compared with: by a seed, whatever their order."""
    distinct = sorted({scan.digest: scan for scan in members}.values(), key=lambda s: s.digest)
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed))
    return [distinct[row] for row in sorted(order[: MOST_OTHERS + 1].tolist())]


def _key(digests: Iterable[str]) -> str:
    return hashlib.blake2b(" ".join(digests).encode(), digest_size=8).hexdigest()


def _refuse_what_cannot_be_one_part(
    known: Sequence[KnownScan], groups: Sequence[Sequence[int]]
) -> None:
    if len(known) < FEWEST:
        raise ConfigError(
            f"together=true with {len(known)} scans; at least {FEWEST} are needed to judge one "
            "another. Leave it out, or give good scans as reference=DIR"
        )
    large = [group for group in groups if len(group) >= 0.3 * len(known)]
    if len(large) > 1:
        few = " and ".join(f"{len(g)} like {known[g[0]].path.name}" for g in large[:2])
        raise ConfigError(
            f"together=true, and the scans are of different parts: {few} differ in their extents. "
            "Give each part by itself, or use together=auto, which keeps them apart"
        )


def _refuse_another_part(sizes: torch.Tensor, good: Sequence[DescribedScan]) -> None:
    if not good or not len(sizes):
        return
    theirs = torch.stack([extents(scan) for scan in good])
    if not agreement(sizes, theirs).any():
        raise another_part(f"the extents of none of its {len(good)} scans agree with any scan")
