"""The parts of a scan that are computed once and kept, each in a file named by what shapes it.

From the raw scan: the sampled cloud with its labels, the local geometry at its points, the FPFH
targets of the patches and the FPFH of the points. The encoder's part is made from those, by the
store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from btp.data.dataset import Dataset
from btp.data.prepare import prepare
from btp.errors import DataError
from btp.geometry.fpfh import dense_fpfh, fpfh, patch_fpfh
from btp.geometry.local_geometry import (
    channel_names,
    dense_normals,
    local_geometry,
    surface_channels,
)
from btp.metrics import count_points, regions
from btp.runtime.files import file_size, write_bytes
from btp.types import N_POINTS, Prepared, Sample

FORMAT = "3"  # part of every key: raise it when any part's meaning changes

Part = dict[str, Tensor]


class ScanParts:
    """The parts of one scan, each found or made; it is read only if some part is missing."""

    def __init__(
        self, dataset: Dataset, sample: Sample, root: Path, n_points: int, seed: int
    ) -> None:
        """Nothing is read yet.

        Args:
            dataset: that reads the scan.
            sample: which.
            root: of the store.
            n_points: N, sampled points.
            seed: of the sampling.
        """
        self.dataset, self.sample, self.root = dataset, sample, root
        self.n_points, self.seed = n_points, seed
        # By hand: up to Python 3.11 cached_property lets one thread at a time into all sources.
        self._digest: hashlib.blake2b | None = None
        self._prepared: Prepared | None = None

    @property
    def key(self) -> str:
        """Hash of the bytes that are read, and of the sampling."""
        return self._key(self.n_points)

    def _key(self, n_points: int) -> str:
        digest = self._scan_digest().copy()
        digest.update(f"{n_points} {self.seed}".encode())
        return digest.hexdigest()

    def _scan_digest(self) -> hashlib.blake2b:
        if self._digest is None:
            self._digest = hashlib.blake2b(digest_size=16)
            for path in (self.sample.path, self.sample.label_path):
                if path is not None and path.is_file():
                    self._digest.update(path.read_bytes())
                self._digest.update(b"|")
        return self._digest

    @property
    def size(self) -> int:
        """Bytes of the file that the scan is read from; 0 if it is not there."""
        return file_size(self.sample.label_path or self.sample.path)

    @property
    def prepared(self) -> Prepared:
        """The scan, sampled from a seed of its own, so that order and company do not matter.

        The seed is the same for every number of points: fewer are then the first of more.
        """
        if self._prepared is None:
            cloud = self.dataset.read(self.sample)
            seed = int(self._key(N_POINTS)[:8], 16)
            self._prepared = prepare(cloud, self.n_points, seed)
        return self._prepared

    def release(self) -> None:
        """Drop the raw cloud."""
        self._prepared = None

    def cloud(self) -> Part:
        """Sampled points, the maps between them and the raw cloud, and the labels of both."""
        part = find_part(part_path(self.root, "clouds", self.key), self._make_cloud)
        del part["nearest"]  # as long as the raw cloud, and no one needs it once labels are counted
        return part

    def _make_cloud(self) -> Part:
        prepared = self.prepared
        labels = prepared.labels
        if labels is None:
            raise DataError(f"{self.sample.path}: no labels; expected those of a benchmark scan")
        name = self.sample.name
        raw_regions = regions(prepared.dense, labels, name)
        counts = count_points(prepared.nearest, raw_regions, len(prepared.points))
        sampled_regions = regions(prepared.points, labels[prepared.rows], name)
        return {
            "points": torch.from_numpy(prepared.points),
            "rows": torch.from_numpy(prepared.rows),
            "nearest": torch.from_numpy(prepared.nearest),
            "region_ids": torch.from_numpy(sampled_regions),
            "repeated": torch.tensor(prepared.repeated),
            **{f"counts.{k}": torch.as_tensor(v) for k, v in asdict(counts).items()},
        }

    def surface(self, cloud: Part) -> Part:
        """Surface channels of the sampled points of `cloud`, from the raw one, in 16 bit."""
        geometry = self._local_geometry(cloud["rows"].numpy())
        return {"surface": torch.from_numpy(surface_channels(geometry)).half()}

    def _local_geometry(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """At the sampled rows [N], float32 [N, F]; points that were sampled before are known.

        What was known changes the rest by rounding at most.
        """
        scan = self._scan_digest().hexdigest()
        path = part_path(self.root, "geometry", scan, self.seed)
        known = _first_known(read_part(path), rows)
        if len(known) == len(rows):
            return known
        dense = self.prepared.dense
        kept = part_path(self.root, "normals", scan)
        normals = find_part(kept, lambda: {"normals": torch.from_numpy(dense_normals(dense))})
        more = local_geometry(dense, rows[len(known) :], normals=normals["normals"].numpy())
        geometry = np.concatenate([known, more])
        write_part(path, {"rows": torch.from_numpy(rows), "geometry": torch.from_numpy(geometry)})
        return geometry

    def patch_targets(self, fpfh_cloud: str, cloud: Part, patch_index: Tensor) -> Part:
        """FPFH targets of the patches."""
        index = patch_index.numpy().astype(np.int64)

        def make() -> Part:
            if fpfh_cloud == "dense":
                described = dense_fpfh(self.prepared.dense, cloud["rows"].numpy())
                self.point_fpfh(described)  # kept for the baselines: a quarter second a scan
            else:
                described = fpfh(cloud["points"].numpy())
            return {"fpfh": torch.from_numpy(patch_fpfh(described, index))}

        layout = hashlib.blake2b(index.tobytes(), digest_size=8).hexdigest()
        return find_part(part_path(self.root, f"fpfh-{fpfh_cloud}", self.key, layout), make)

    def point_fpfh(self, described: NDArray[np.float32] | None = None) -> Part:
        """FPFH of the sampled points on the dense cloud, in 16 bit.

        Args:
            described: [N, 33], where it was computed already.
        """

        def make() -> Part:
            known = described
            if known is None:
                known = dense_fpfh(self.prepared.dense, self.prepared.rows)
            return {"point_fpfh": torch.from_numpy(known).half()}

        return find_part(part_path(self.root, "fpfh-points", self.key), make)


def _first_known(part: Part | None, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Geometry of the first of `rows`, as many as `part` holds: float32 [M, F]."""
    if part is None:
        return np.empty((0, len(channel_names())), np.float32)
    shared = min(len(rows), len(part["rows"]))
    # another version of the sampler may choose others
    same = np.array_equal(part["rows"][:shared], rows[:shared])
    return np.asarray(part["geometry"][: shared if same else 0])


def part_path(root: Path, part: str, *key: object) -> Path:
    """File of one part.

    Args:
        root: of the store.
        part: its kind.
        key: all that shapes it.
    """
    digest = hashlib.blake2b(repr((FORMAT, *key)).encode(), digest_size=16).hexdigest()
    return root / part / digest[:2] / f"{digest}.safetensors"


def find_part(path: Path, make: Callable[[], Part]) -> Part:
    """The part in a file; made and written where there is none."""
    part = read_part(path)
    if part is None:
        part = make()
        write_part(path, part)
    return part


def read_part(path: Path) -> Part | None:
    """The part in a file; None where it is absent or damaged."""
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError):  # a disk fault; the part can be made again
        return None


def write_part(path: Path, part: Part) -> None:
    """Write a part, whole or not at all."""
    content = save({name: tensor.contiguous() for name, tensor in part.items()})
    write_bytes(path, content)
