"""The feature store: whatever does not change during training is computed once, ever.

Each scan has entries on disk (`btp.features.entries`). An entry's file name is a hash of the scan's
bytes and of everything that shapes the entry, so a changed setting finds nothing stale, and nothing
is computed twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from btp.data.dataset import Dataset
from btp.errors import ConfigError, DataError
from btp.features.entries import Entry, ScanEntries, entry_path, read_entry, write_entry
from btp.features.feature_set import NOTHING_MORE, FeatureSet, Wanted, joined
from btp.features.registered import registered_fpfh
from btp.models.fast import for_encoding
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.runtime.batches import batches
from btp.runtime.locks import locked
from btp.runtime.progress import Progress
from btp.runtime.threads import BYTES_IN_WORK, core_count, map_within
from btp.types import N_POINTS

__all__ = ["DiskStore", "FeatureSet", "FeatureStore", "Wanted", "load_annotated"]

BATCH = 8
"""Clouds encoded together."""
WORKERS = min(8, core_count())
"""Threads that prepare scans: NumPy and SciPy release the interpreter lock where it matters, and
share the cores (`shared_cores`)."""

T = TypeVar("T")


class FeatureStore(Protocol):
    """Gives the features of a dataset's clouds, made by one encoder.

    Attributes:
        model: whose point encoder makes the features.
        n_points: N, sampled points a cloud.
        seed: of the sampling.
    """

    model: PointLanguageModel
    n_points: int
    seed: int

    @property
    def encoding_seconds(self) -> float:
        """Seconds spent so far in the encoder."""

    def load(
        self, dataset: Dataset, category: str, split: str, wanted: Wanted = NOTHING_MORE
    ) -> FeatureSet:
        """Load the features of one category and split; what is missing is computed and kept.

        Args:
            dataset: where the scans are.
            category: of the dataset.
            split: "train" or "test".
            wanted: which optional features.

        Raises:
            DataError: if the split is empty, or a scan cannot be used; named.
        """


def load_annotated(
    store: FeatureStore, dataset: Dataset, category: str, recipe: Recipe
) -> FeatureSet:
    """Load the features of a train category, with all that a recipe trains on."""
    with_targets = recipe.detector.use_geometry and recipe.loss.geometry
    wanted = Wanted(
        surface=recipe.detector.reads_surface,
        fpfh_cloud=recipe.training.fpfh_cloud if with_targets else None,
    )
    return store.load(dataset, category, recipe.training.train_split, wanted)


class DiskStore:
    """A feature store in a folder; see `FeatureStore`."""

    def __init__(
        self, root: Path, model: PointLanguageModel, n_points: int = N_POINTS, seed: int = 0
    ) -> None:
        """Open a store.

        Args:
            root: folder; may be shared by several processes, encoders and settings.
            model: its point encoder makes the features.
            n_points: N, sampled points a cloud.
            seed: of the sampling.

        Raises:
            ConfigError: if the encoder makes more patches than there are points.
        """
        if n_points < model.config.point.groups:
            raise ConfigError(
                f"n_points is {n_points}, and the encoder {model.config.name} makes "
                f"{model.config.point.groups} patches; ask for at least as many points"
            )
        self.root = root
        self.model = model
        self.n_points = n_points
        self.seed = seed
        self.encoding_seconds = 0.0

    def load(
        self, dataset: Dataset, category: str, split: str, wanted: Wanted = NOTHING_MORE
    ) -> FeatureSet:
        """Load the features of one category and split; see `FeatureStore.load`."""
        samples = dataset.samples(category, split)
        if not samples:
            raise DataError(
                f"{dataset.name}, {category}: no {split} scans found; check the dataset's folder"
            )
        surface = wanted.surface or self.model.reads_surface
        title = f"{dataset.name} {category} {split}"
        # One process fills a category, others wait and then find it done.
        with locked(self._lock_path(title)):
            settings = self.root, self.n_points, self.seed
            scans = [ScanEntries(dataset, sample, *settings) for sample in samples]
            made = [self._threaded(scans, f"prepare {title}", lambda scan: scan.raw(surface))]
            made.append(self._encoded(scans, made[0], f"encode {title}"))
            if wanted.fpfh_cloud is not None:
                made.append(self._targets(scans, made, wanted.fpfh_cloud, f"fpfh {title}"))
            if wanted.point_fpfh:
                describe = self._fpfh_of_points(dataset, category, wanted)
                made.append(self._threaded(scans, f"fpfh {title}", describe))
        return joined(category, samples, _merged(made))

    def _fpfh_of_points(
        self, dataset: Dataset, category: str, wanted: Wanted
    ) -> Callable[[ScanEntries], Entry]:
        """What describes the points of each scan: as it lies, or registered to a normal one."""
        if wanted.registration == "none":
            return partial(ScanEntries.point_fpfh, radii=wanted.fpfh_radii)
        normal = dataset.samples(category, "train")
        if not normal:
            raise DataError(
                f"{dataset.name}, {category}: no train scans found, and scans are registered to "
                "the first of them; add some, or leave registration=none"
            )
        template = ScanEntries(dataset, normal[0], self.root, self.n_points, self.seed)
        return partial(registered_fpfh, template=template, radii=wanted.fpfh_radii)

    def _lock_path(self, title: str) -> Path:
        return self.root / f".{title.replace(' ', '-').replace('/', '-')}.lock"

    def _threaded(
        self, scans: Sequence[ScanEntries], title: str, make: Callable[[ScanEntries], T]
    ) -> list[T]:
        def run(scan: ScanEntries) -> T:
            result = make(scan)
            scan.release()
            return result

        sizes = [scan.size for scan in scans]
        made = map_within(run, scans, sizes, BYTES_IN_WORK, WORKERS)
        return list(Progress(title, len(scans), passing=True).over(made))

    def _encoded(
        self, scans: Sequence[ScanEntries], clouds: Sequence[Entry], title: str
    ) -> list[Entry]:
        """The encoder's entry of each scan, found or made."""
        weights = self.model.fingerprint
        paths = [entry_path(self.root, "features", scan.key, weights) for scan in scans]
        entries = [read_entry(path) for path in paths]
        missing = [i for i, entry in enumerate(entries) if entry is None]
        progress = Progress(title, len(missing), passing=True)
        for chunk in batches(len(missing), BATCH):
            rows = missing[chunk]
            made = self._encode([clouds[i] for i in rows])
            for row, entry in zip(rows, made, strict=True):
                write_entry(paths[row], entry)
                entries[row] = entry
            progress.update(len(rows))
        progress.close()
        return [entry for entry in entries if entry is not None]

    def _encode(self, clouds: Sequence[Entry]) -> list[Entry]:
        """The encoder's entries of some clouds, taps in 16 bit."""

        def stack(name: str) -> torch.Tensor:
            return torch.stack([cloud[name] for cloud in clouds]).float().to(self.model.device)

        surface = stack("surface") if self.model.reads_surface else None
        points = stack("points")
        started = time.monotonic()
        with torch.inference_mode():
            # the same features in a fraction of the time
            features = for_encoding(self.model).encode(points, surface)
            batch = {
                "taps": features.taps.half().cpu(),
                "cls": features.cls.cpu(),
                "object_embedding": features.object_embedding.cpu(),
                "patch_index": features.patch_index.to(torch.int32).cpu(),
            }
        self.encoding_seconds += time.monotonic() - started
        return [{k: v[i].clone() for k, v in batch.items()} for i in range(len(clouds))]

    def _targets(
        self,
        scans: Sequence[ScanEntries],
        made: Sequence[Sequence[Entry]],
        fpfh_cloud: str,
        title: str,
    ) -> list[Entry]:
        """The FPFH targets of each scan's patches."""
        known = {id(scan): entry for scan, entry in zip(scans, _merged(made), strict=True)}
        return self._threaded(
            scans, title, lambda scan: scan.patch_targets(fpfh_cloud, known[id(scan)])
        )


def _merged(made: Sequence[Sequence[Entry]]) -> list[Entry]:
    """One entry a scan from several lists of them."""
    return [
        {k: v for entry in entries for k, v in entry.items()} for entries in zip(*made, strict=True)
    ]
