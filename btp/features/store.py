"""The feature store: whatever does not change during training is computed once, ever.

Each cloud has up to six parts on disk: the sampled cloud, the normals of the raw one, the local
geometry at the sampled points, the encoder's features, the patches' FPFH targets and the points'
FPFH. A part's file name is a hash of the scan's bytes and of everything that shapes the part, so a
changed setting finds nothing stale, and no part is computed twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from tqdm import tqdm

from btp.data.dataset import Dataset
from btp.errors import ConfigError, DataError
from btp.features.feature_set import FeatureSet, joined
from btp.features.parts import Part, ScanParts, part_path, read_part, write_part
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.runtime.batches import batches
from btp.runtime.threads import BYTES_IN_WORK, core_count, map_within
from btp.types import N_POINTS, Features

__all__ = ["FeatureSet", "FeatureStore"]

BATCH = 8
# Threads: NumPy and SciPy release the interpreter lock where it matters, and share the cores
# (`shared_cores`).
WORKERS = min(8, core_count())

T = TypeVar("T")


class FeatureStore:
    """Finds or makes the features of a dataset's clouds with one encoder.

    Attributes:
        encoding_seconds: spent so far in the encoder.
    """

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
        self,
        dataset: Dataset,
        category: str,
        split: str,
        surface: bool = False,
        fpfh_cloud: str | None = None,
        point_fpfh: bool = False,
    ) -> FeatureSet:
        """Features of one category and split; what is missing is computed and kept.

        Args:
            dataset: where the scans are.
            category: of the dataset.
            split: "train" or "test".
            surface: with surface channels (always, if the encoder reads them).
            fpfh_cloud: with FPFH targets on the "sampled" or "dense" cloud (D8); None without.
            point_fpfh: with FPFH of each sampled point, on the dense cloud.

        Raises:
            DataError: if the split is empty, or a scan cannot be used; named.
        """
        samples = dataset.samples(category, split)
        if not samples:
            raise DataError(
                f"{dataset.name}, {category}: no {split} scans found; check the dataset's folder"
            )
        surface = surface or self.model.reads_surface
        title = f"{dataset.name} {category} {split}"
        # One process fills a category, others wait and then find it done.
        with FileLock(self._lock_path(title)):
            settings = self.root, self.n_points, self.seed
            sources = [ScanParts(dataset, sample, *settings) for sample in samples]
            raw = self._threaded(sources, f"prepare {title}", lambda s: _of_raw(s, surface))
            clouds = [cloud for cloud, _ in raw]
            surfaces = [channels for _, channels in raw] if surface else []
            encoded = self._encoded(sources, clouds, surfaces, title)
            targets: Sequence[Part] = []
            if fpfh_cloud is not None:
                targets = self._targets(sources, clouds, encoded, fpfh_cloud, title)
            described: Sequence[Part] = []
            if point_fpfh:
                described = self._threaded(sources, f"fpfh {title}", ScanParts.point_fpfh)
        return joined(category, samples, clouds, surfaces, encoded, targets, described)

    def load_annotated(self, dataset: Dataset, category: str, recipe: Recipe) -> FeatureSet:
        """Features of a train category, with all that a recipe trains on."""
        return self.load(
            dataset,
            category,
            recipe.train_split,
            surface=recipe.gfcm_input == "surface",
            fpfh_cloud=recipe.fpfh_cloud if recipe.use_geometry and recipe.loss.geometry else None,
        )

    def _lock_path(self, title: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root / f".{title.replace(' ', '-').replace('/', '-')}.lock"

    def _threaded(
        self, sources: Sequence[ScanParts], title: str, make: Callable[[ScanParts], T]
    ) -> list[T]:
        def run(source: ScanParts) -> T:
            result = make(source)
            source.release()
            return result

        sizes = [source.size for source in sources]
        made = map_within(run, sources, sizes, BYTES_IN_WORK, WORKERS)
        return list(tqdm(made, title, len(sources), leave=False))

    def _encoded(
        self,
        sources: Sequence[ScanParts],
        clouds: Sequence[Part],
        surfaces: Sequence[Part],
        title: str,
    ) -> list[Part]:
        weights = self.model.fingerprint
        paths = [part_path(self.root, "features", source.key, weights) for source in sources]
        parts = [read_part(path) for path in paths]
        missing = [i for i, part in enumerate(parts) if part is None]
        bar = tqdm(total=len(missing), desc=f"encode {title}", leave=False, disable=not missing)
        for chunk in batches(len(missing), BATCH):
            rows = missing[chunk]
            points = torch.stack([clouds[i]["points"] for i in rows])
            extra = None
            if self.model.reads_surface:
                extra = torch.stack([surfaces[i]["surface"] for i in rows]).float()
                extra = extra.to(self.model.device)
            started = time.monotonic()
            with torch.inference_mode():
                encoded = _split(self.model.encode(points.to(self.model.device), extra))
            self.encoding_seconds += time.monotonic() - started
            for row, part in zip(rows, encoded, strict=True):
                write_part(paths[row], part)
                parts[row] = part
            bar.update(len(rows))
        bar.close()
        return [part for part in parts if part is not None]

    def _targets(
        self,
        sources: Sequence[ScanParts],
        clouds: Sequence[Part],
        encoded: Sequence[Part],
        fpfh_cloud: str,
        title: str,
    ) -> list[Part]:
        layout = {id(s): (c, e) for s, c, e in zip(sources, clouds, encoded, strict=True)}

        def target(source: ScanParts) -> Part:
            cloud, features = layout[id(source)]
            return source.patch_targets(fpfh_cloud, cloud, features["patch_index"])

        return self._threaded(sources, f"fpfh {title}", target)


def _of_raw(source: ScanParts, surface: bool) -> tuple[Part, Part]:
    """The sampled cloud and its surface channels, from one reading of the scan."""
    cloud = source.cloud()
    return cloud, source.surface(cloud) if surface else {}


def _split(features: Features) -> list[Part]:
    """The encoder's part of each cloud of a batch, taps in 16 bit."""
    batch = {
        "taps": features.taps.half().cpu(),
        "cls": features.cls.cpu(),
        "object_embedding": features.object_embedding.cpu(),
        "patch_index": features.patch_index.to(torch.int32).cpu(),
    }
    return [{k: v[i].clone() for k, v in batch.items()} for i in range(len(features.cls))]
