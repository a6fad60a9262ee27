"""A scan's entries in the store, each computed once and kept in a file named by all that shapes it.

A scan has up to six entries. From the raw cloud: the sampled points with their labels, the normals,
the local geometry at the sampled points, the FPFH targets of the patches, and the FPFH of the
points. The sixth is the encoder's, which the store makes from these.
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

FORMAT = "4"
"""Goes into the name of every entry: raise it when the values of any entry change."""

Entry = dict[str, Tensor]
"""Tensors by name, those of one scan and one file."""


class ScanEntries:
    """Finds or makes the entries of one scan, which is read only if one of them is missing."""

    def __init__(
        self, dataset: Dataset, sample: Sample, root: Path, n_points: int, seed: int
    ) -> None:
        """Name the scan; nothing is read yet.

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
        """Hash of the scan's bytes and of the settings of its sampling."""
        return self._key(self.n_points)

    @property
    def digest(self) -> str:
        """Hash of the scan's bytes alone."""
        return self._scan_digest().hexdigest()

    def _key(self, n_points: int) -> str:
        digest = self._scan_digest().copy()
        digest.update(f"{n_points} {self.seed}".encode())
        return digest.hexdigest()

    def _scan_digest(self) -> hashlib.blake2b:
        if self._digest is None:
            digest = hashlib.blake2b(digest_size=16)
            for path in (self.sample.path, self.sample.label_path):
                if path is not None and path.is_file():
                    digest.update(path.read_bytes())
                digest.update(b"|")
            self._digest = digest  # not before it is whole: a template is shared by threads
        return self._digest

    @property
    def size(self) -> int:
        """Bytes of the file that the scan is read from; 0 if it is not there."""
        return file_size(self.sample.label_path or self.sample.path)

    @property
    def prepared(self) -> Prepared:
        """The scan, sampled from a seed of its own: neither order nor company matters.

        The seed is the same for every number of points: fewer are then the first of more.
        """
        if self._prepared is None:
            cloud = self.dataset.read(self.sample)
            seed = int(self._key(N_POINTS)[:8], 16)
            self._prepared = prepare(cloud, self.n_points, seed)
        return self._prepared

    def release(self) -> None:
        """Drop the raw cloud, which may be large."""
        self._prepared = None

    def raw(self, surface: bool) -> Entry:
        """Return what comes of the raw cloud alone, from one reading of it.

        Args:
            surface: with the surface channels.
        """
        cloud = self._cloud()
        return cloud | self._surface(cloud["rows"].numpy()) if surface else cloud

    def _cloud(self) -> Entry:
        """Sampled points, the maps between them and the raw cloud, and the labels of both."""
        entry = find_entry(entry_path(self.root, "clouds", self.key), self._make_cloud)
        del entry["nearest"]  # as long as the raw cloud; its use ended when labels were counted
        return entry

    def _make_cloud(self) -> Entry:
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

    def _surface(self, rows: NDArray[np.int64]) -> Entry:
        """Surface channels [N, F] at the sampled rows [N], in 16 bit."""
        geometry = self._local_geometry(rows)
        return {"surface": torch.from_numpy(surface_channels(geometry)).half()}

    def _local_geometry(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Local geometry [N, F] at the sampled rows; that of points sampled before is known.

        What was known changes the rest by rounding at most.
        """
        path = entry_path(self.root, "geometry", self.digest, self.seed)
        known = _first_known(read_entry(path), rows)
        if len(known) == len(rows):
            return known
        dense = self.prepared.dense
        kept = entry_path(self.root, "normals", self.digest)
        normals = find_entry(kept, lambda: {"normals": torch.from_numpy(dense_normals(dense))})
        more = local_geometry(dense, rows[len(known) :], normals=normals["normals"].numpy())
        geometry = np.concatenate([known, more])
        write_entry(path, {"rows": torch.from_numpy(rows), "geometry": torch.from_numpy(geometry)})
        return geometry

    def patch_targets(self, fpfh_cloud: str, known: Entry) -> Entry:
        """Return the FPFH targets [G, 33] of the patches.

        Args:
            fpfh_cloud: "sampled" or "dense" (D8).
            known: the sampled points, their rows and the patches.
        """
        index = known["patch_index"].numpy().astype(np.int64)

        def make() -> Entry:
            if fpfh_cloud == "dense":
                described = dense_fpfh(self.prepared.dense, known["rows"].numpy())
                self.point_fpfh(described)  # kept for the baselines: a quarter second a scan
            else:
                described = fpfh(known["points"].numpy())
            return {"fpfh": torch.from_numpy(patch_fpfh(described, index))}

        layout = hashlib.blake2b(index.tobytes(), digest_size=8).hexdigest()
        return find_entry(entry_path(self.root, f"fpfh-{fpfh_cloud}", self.key, layout), make)

    def point_fpfh(
        self,
        described: NDArray[np.float32] | None = None,
        radii: tuple[float, float] | None = None,
    ) -> Entry:
        """Return FPFH [N, 33] of the sampled points on the dense cloud, in 16 bit.

        Args:
            described: [N, 33], where it was computed already.
            radii: for normals and features, in the scan's own unit; None for multiples of its
                point spacing.
        """

        def make() -> Entry:
            if described is not None:
                return {"point_fpfh": torch.from_numpy(described).half()}
            return fpfh_entry(self.prepared, self.prepared.dense, radii)

        key = (self.key,) if radii is None else (self.key, radii)
        return find_entry(entry_path(self.root, "fpfh-points", *key), make)


def fpfh_entry(
    prepared: Prepared, dense: NDArray[np.float32], radii: tuple[float, float] | None
) -> Entry:
    """Describe a scan's sampled points by FPFH, in 16 bit.

    Args:
        prepared: the scan.
        dense: float32 [R, 3], its raw points, normalised, in the pose that they are described in.
        radii: for normals and features, in the scan's own unit; None for multiples of its point
            spacing.
    """
    scale = prepared.scale
    scaled = None if radii is None else (radii[0] / scale, radii[1] / scale)
    return {"point_fpfh": torch.from_numpy(dense_fpfh(dense, prepared.rows, radii=scaled)).half()}


def _first_known(entry: Entry | None, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Geometry of the first of `rows`, as many as `entry` holds: float32 [M, F]."""
    if entry is None:
        return np.empty((0, len(channel_names())), np.float32)
    shared = min(len(rows), len(entry["rows"]))
    # another version of the sampler may choose others
    same = np.array_equal(entry["rows"][:shared], rows[:shared])
    return np.asarray(entry["geometry"][: shared if same else 0])


def entry_path(root: Path, kind: str, *key: object) -> Path:
    """Return the file of an entry.

    Args:
        root: folder of the store.
        kind: a word for what the entry holds, the name of its folder.
        key: all that shapes it.
    """
    digest = hashlib.blake2b(repr((FORMAT, *key)).encode(), digest_size=16).hexdigest()
    return root / kind / digest[:2] / f"{digest}.safetensors"


def find_entry(path: Path, make: Callable[[], Entry]) -> Entry:
    """Read an entry; make and write it where there is none."""
    entry = read_entry(path)
    if entry is None:
        entry = make()
        write_entry(path, entry)
    return entry


def read_entry(path: Path) -> Entry | None:
    """Read an entry; None where it is absent or damaged."""
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError):  # a disk fault; the entry can be made again
        return None


def write_entry(path: Path, entry: Entry) -> None:
    """Write an entry, whole or not at all."""
    content = save({name: tensor.contiguous() for name, tensor in entry.items()})
    write_bytes(path, content)
