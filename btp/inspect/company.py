"""Which scans of a folder are judged by which others, with descriptors kept on disk.

Descriptors are written as they come, so that an interrupted run goes on, and memory does not grow
with the number of scans: of each only its digest and its extents are held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save

import btp
from btp.data.coverage import Coverage
from btp.data.reading import read_scan
from btp.errors import ConfigError, DataError
from btp.evaluation.patch_distances import DescribedScan, agreement, extents
from btp.evaluation.together import MOST_OTHERS, Judge
from btp.inspect.overlap import work_ahead
from btp.inspect.reference import GoodScans, read_safetensors
from btp.inspect.scan import ReadyScan, ScoredScan
from btp.inspect.scan_files import ScanFiles
from btp.inspect.scan_model import ScanModel
from btp.inspect.together import FEWEST, judged_scan
from btp.runtime.files import file_digest, write_bytes

Together = Literal["auto", "true", "false"]
FEWEST_ALIKE = 6
"""Scans that must be of one part before "auto" judges them together."""
FOLDER = "_descriptors"


@dataclass(frozen=True)
class KnownScan:
    """What is held in memory of each scan.

    Attributes:
        path: of the scan.
        content: digest of its file.
        digest: of its points.
        extents: float64 [3].
    """

    path: Path
    content: str
    digest: str
    extents: torch.Tensor


class DescribedFolder:
    """The scans of a folder, described on disk; reads, or else makes, the description of each."""

    def __init__(
        self, inspector: ScanModel, scans: ScanFiles, out: Path, coverage: Coverage
    ) -> None:
        """Name the folder of descriptions; nothing is written yet."""
        self.inspector, self.scans, self.coverage = inspector, scans, coverage
        self.folder = out / FOLDER

    def describe_all(self, workers: int | None) -> tuple[list[KnownScan], dict[Path, str]]:
        """Describe every scan that is not described yet.

        Returns:
            The scans, and for those that cannot be read or used what is wrong with them.
        """
        known, errors = [], {}
        for path, reading in work_ahead(
            self._find_or_prepare, self.scans.paths, workers, "describing"
        ):
            try:
                content, found = reading.result()
                if isinstance(found, ReadyScan):
                    found = self._describe(path, content, found)
                known.append(KnownScan(path, content, found.digest, extents(found)))
            except DataError as error:
                errors[path] = str(error)
        return known, errors

    def load(self, scan: KnownScan) -> DescribedScan:
        """Read the description of a scan.

        Raises:
            DataError: if it is gone.
        """
        found = self._read(scan.path, scan.content)
        if found is None:
            raise DataError(f"{self._file(scan.path)}: gone or damaged while in use; run again")
        return _described(*found)

    def load_ready(self, scan: KnownScan) -> tuple[ReadyScan, DescribedScan]:
        """Read a scan again, with its description and its place in the samplings."""
        found = self._read(scan.path, scan.content)
        if found is None:
            raise DataError(f"{self._file(scan.path)}: gone or damaged while in use; run again")
        about, tensors = found
        described = _described(about, tensors)
        ready = ReadyScan(
            scan=read_scan(scan.path),
            points=described.points.numpy(),
            channels=None,
            surface_rows=tensors["surface_rows"].numpy(),
            valid_rows=tensors.get("valid_rows", tensors["surface_rows"]).numpy(),
            repeated=about["repeated"] == "True",
            spacing=float(about["spacing"]),
            scale=described.scale,
        )
        return ready, described

    def _find_or_prepare(self, path: Path) -> tuple[str, DescribedScan | ReadyScan]:
        content = file_digest(path)
        found = self._read(path, content)
        if found is not None:
            return content, _described(*found)
        return content, self.inspector.ready(path, self.coverage)

    def _describe(self, path: Path, content: str, ready: ReadyScan) -> DescribedScan:
        ready, described = self.inspector.describe([ready])[0]
        tensors = described.tensors()
        tensors["surface_rows"] = _short(ready.surface_rows)
        if ready.scan.sampled:
            tensors["valid_rows"] = _short(ready.valid_rows)
        about = self._about(content) | {
            "digest": described.digest,
            "repeated": str(ready.repeated),
            "spacing": repr(ready.spacing),
        }
        write_bytes(self._file(path), save(tensors, metadata=about))
        return described

    def _about(self, content: str) -> dict[str, str]:
        return {
            "content": content,
            "detector": self.inspector.digest,
            "btp": btp.__version__,
            "coverage": self.coverage,
            "precision": self.inspector.precision,
        }

    def _file(self, path: Path) -> Path:
        return self.folder / f"{self.scans.name(path)}.safetensors"

    def _read(
        self, path: Path, content: str
    ) -> tuple[dict[str, str], dict[str, torch.Tensor]] | None:
        """Read a description; None if there is none of this scan and detector."""
        try:
            about, tensors = read_safetensors(self._file(path))
        except (SafetensorError, OSError):
            return None
        same = all(about.get(key) == value for key, value in self._about(content).items())
        return (about, tensors) if same else None


def _described(about: dict[str, str], tensors: dict[str, torch.Tensor]) -> DescribedScan:
    return DescribedScan.from_tensors(about["digest"], tensors)


def _short(rows: object) -> torch.Tensor:
    """Rows of sampled points as 16 bit; there are far fewer than 32,768 of them."""
    return torch.as_tensor(rows).to(torch.int16)


@dataclass(frozen=True)
class Company:
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
        """Score a scan by this company."""
        return replace(judged_scan(ready, described, self.judge, uncovered), group=self.group)


def find_company(
    folder: DescribedFolder,
    known: Sequence[KnownScan],
    together: Together,
    reference: GoodScans | None,
) -> dict[Path, Company]:
    """Decide by which others each scan is judged.

    Args:
        folder: reads the descriptions.
        known: the scans.
        together: "true" judges all scans by one another; "auto" those evidently of one part, if
            there are at least `FEWEST_ALIKE`; "false" none.
        reference: good scans that each is judged against, or None.

    Raises:
        ConfigError: if `together` is unknown; or "true", and the scans are too few or of two parts.
        DataError: if the reference is of another part than every scan.
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
    _refuse_another_part(sizes, good)
    device = folder.inspector.model.device
    good_key = _key(scan.digest for scan in good) if good else ""
    alone = Company("", Judge(good=good, device=device), good_key)
    company = {scan.path: alone for scan in known}
    for number, group in enumerate(groups, 1):
        members = [known[row] for row in group]
        chosen = _chosen(members)
        judge = Judge([folder.load(scan) for scan in chosen], good, device=device)
        key = _key([good_key, *(scan.digest for scan in chosen)])
        of_group = Company(str(number), judge, key)
        company |= {scan.path: of_group for scan in members}
    return company


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
        raise DataError(
            f"the reference is of another part: the extents of none of its {len(good)} scans agree "
            "with any scan within 3 %. Give good scans of this part, in the same units and seen "
            "from all sides"
        )
