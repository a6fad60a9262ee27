"""The feature store: whatever does not change during training is computed once, ever.

Each cloud has up to five parts on disk: the sampled cloud, its surface channels, its encoder
features, its patches' FPFH targets and its points' FPFH. A part's file name is a hash of the scan's
bytes and of everything that shapes the part, so a changed setting finds nothing stale, and no part
is computed twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from btp.data.dataset import Dataset
from btp.data.prepare import N_POINTS, prepare
from btp.errors import ConfigError, DataError
from btp.files import write_bytes
from btp.fpfh import dense_fpfh, dense_patch_fpfh, fpfh, patch_fpfh
from btp.geometry import batches
from btp.metrics import PointCounts, count_points, regions
from btp.recipe import Recipe
from btp.surface import surface_channels
from btp.threads import core_count, map_within
from btp.types import Features, Prepared, Sample
from btp.weights.models import PointLanguageModel

FORMAT = "1"  # part of every key: raise it when any part's meaning changes
BATCH = 8
# Threads: NumPy, SciPy and Open3D release the interpreter lock where it matters.
WORKERS = min(8, core_count())
# Bytes of the files of scans in work together, or one scan where it is larger. At its peak a scan
# takes 6 times its binary file, or twice its text file: so together they take 1.2 GB at most.
BYTES_IN_WORK = 200_000_000

Part = dict[str, Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSet:
    """All clouds of one category and split, ready to train on or to score: M clouds.

    Attributes:
        category: its name.
        samples: M entries of the dataset's listing.
        features: of all M, taps in 16 bit; `batch` gives them in float32.
        labels: bool [M, N], of the sampled points.
        counts: M condensations of the raw cloud's labels, for metrics at raw resolution.
        region_ids: int32 [M, N], connected regions of the sampled points; 0 is normal.
        repeated: bool [M], sampled with repetition because the cloud was too small.
    """

    category: str
    samples: tuple[Sample, ...]
    features: Features
    labels: Tensor
    counts: tuple[PointCounts, ...]
    region_ids: Tensor
    repeated: Tensor

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def is_anomalous(self) -> Tensor:
        """Of each cloud by the dataset's listing: bool [M]."""
        return torch.tensor([sample.is_anomalous for sample in self.samples])

    def rows(self, index: Sequence[int]) -> FeatureSet:
        """The set of some of the clouds, in this order."""
        chosen = torch.tensor(index, dtype=torch.int64)
        return replace(
            self,
            samples=tuple(self.samples[i] for i in index),
            features=self.features.map(lambda tensor: tensor[chosen]),
            labels=self.labels[chosen],
            counts=tuple(self.counts[i] for i in index),
            region_ids=self.region_ids[chosen],
            repeated=self.repeated[chosen],
        )

    def batch(
        self, index: Tensor | slice, device: torch.device | str = "cpu"
    ) -> tuple[Features, Tensor]:
        """Features in float32 and labels bool [B, N] of some of the clouds."""

        def take(tensor: Tensor) -> Tensor:
            chosen = tensor[index].to(device, non_blocking=True)
            return chosen.float() if chosen.is_floating_point() else chosen

        features = self.features.map(take)
        return features, take(self.labels)


class FeatureStore:
    """Finds or makes the features of a dataset's clouds with one encoder."""

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
            sources = [_Source(dataset, sample, self) for sample in samples]
            # both from one reading of the scan
            parts = [_Source.cloud_part, _Source.surface_part] if surface else [_Source.cloud_part]
            raw = self._threaded(sources, f"prepare {title}", lambda s: [part(s) for part in parts])
            clouds = [made[0] for made in raw]
            surfaces = [made[1] for made in raw] if surface else []
            encoded = self._encoded(sources, clouds, surfaces, title)
            targets: Sequence[Part] = []
            if fpfh_cloud is not None:
                targets = self._targets(sources, clouds, encoded, fpfh_cloud, title)
            described: Sequence[Part] = []
            if point_fpfh:
                described = self._threaded(sources, f"fpfh {title}", _Source.point_fpfh_part)
        return _feature_set(category, samples, clouds, surfaces, encoded, targets, described)

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
        self, sources: Sequence[_Source], title: str, make: Callable[[_Source], T]
    ) -> list[T]:
        def run(source: _Source) -> T:
            result = make(source)
            source.release()
            return result

        sizes = [source.size for source in sources]
        made = map_within(run, sources, sizes, BYTES_IN_WORK, WORKERS)
        return list(tqdm(made, title, len(sources), leave=False))

    def _encoded(
        self,
        sources: Sequence[_Source],
        clouds: Sequence[Part],
        surfaces: Sequence[Part],
        title: str,
    ) -> list[Part]:
        paths = [self.path("features", source.key, self.model.fingerprint) for source in sources]
        parts = [_read(path) for path in paths]
        missing = [i for i, part in enumerate(parts) if part is None]
        bar = tqdm(total=len(missing), desc=f"encode {title}", leave=False, disable=not missing)
        for chunk in batches(len(missing), BATCH):
            rows = missing[chunk]
            points = torch.stack([clouds[i]["points"] for i in rows])
            extra = None
            if self.model.reads_surface:
                extra = torch.stack([surfaces[i]["surface"] for i in rows]).float()
                extra = extra.to(self.model.device)
            with torch.inference_mode():
                features = self.model.encode(points.to(self.model.device), extra)
            for row, part in zip(rows, _split(features), strict=True):
                _write(paths[row], part)
                parts[row] = part
            bar.update(len(rows))
        bar.close()
        return [part for part in parts if part is not None]

    def _targets(
        self,
        sources: Sequence[_Source],
        clouds: Sequence[Part],
        encoded: Sequence[Part],
        fpfh_cloud: str,
        title: str,
    ) -> list[Part]:
        layout = {id(s): (c, e) for s, c, e in zip(sources, clouds, encoded, strict=True)}

        def target(source: _Source) -> Part:
            cloud, features = layout[id(source)]
            return source.fpfh_part(fpfh_cloud, cloud, features["patch_index"])

        return self._threaded(sources, f"fpfh {title}", target)

    def path(self, part: str, *key: object) -> Path:
        """File of one part."""
        digest = hashlib.blake2b(repr((FORMAT, *key)).encode(), digest_size=16).hexdigest()
        return self.root / part / digest[:2] / f"{digest}.safetensors"


class _Source:
    """One scan on its way into the store; read and prepared only if some part is missing."""

    def __init__(self, dataset: Dataset, sample: Sample, store: FeatureStore) -> None:
        self.dataset, self.sample, self.store = dataset, sample, store
        # By hand: up to Python 3.11 cached_property lets one thread at a time into all sources.
        self._key: str | None = None
        self._prepared: Prepared | None = None

    @property
    def key(self) -> str:
        """Hash of the bytes that are read, and of the sampling."""
        if self._key is None:
            self._key = self._make_key()
        return self._key

    def _make_key(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for path in (self.sample.path, self.sample.label_path):
            if path is not None and path.is_file():
                digest.update(path.read_bytes())
            digest.update(b"|")
        digest.update(f"{self.store.n_points} {self.store.seed}".encode())
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the file that the scan is read from; 0 if it is not there."""
        path = self.sample.label_path or self.sample.path
        return path.stat().st_size if path.is_file() else 0

    @property
    def prepared(self) -> Prepared:
        """The scan, sampled from a seed of its own, so that order and company do not matter."""
        if self._prepared is None:
            cloud = self.dataset.read(self.sample)
            self._prepared = prepare(cloud, self.store.n_points, seed=int(self.key[:8], 16))
        return self._prepared

    def release(self) -> None:
        """Drop the raw cloud."""
        self._prepared = None

    def cloud_part(self) -> Part:
        """Sampled points, the maps between them and the raw cloud, and the labels of both."""
        part = _find(self.store.path("clouds", self.key), self._make_cloud)
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

    def surface_part(self) -> Part:
        """Surface channels of the sampled points, from the raw cloud."""

        def make() -> Part:
            values = surface_channels(self.prepared.dense, self.prepared.points)
            return {"surface": torch.from_numpy(values).half()}

        return _find(self.store.path("surface", self.key), make)

    def fpfh_part(self, fpfh_cloud: str, cloud: Part, patch_index: Tensor) -> Part:
        """FPFH targets of the patches."""
        index = patch_index.numpy().astype(np.int64)

        def make() -> Part:
            if fpfh_cloud == "dense":
                rows = cloud["rows"].numpy()
                target = dense_patch_fpfh(self.prepared.dense, rows, index)
            else:
                target = patch_fpfh(fpfh(cloud["points"].numpy()), index)
            return {"fpfh": torch.from_numpy(target)}

        layout = hashlib.blake2b(index.tobytes(), digest_size=8).hexdigest()
        return _find(self.store.path(f"fpfh-{fpfh_cloud}", self.key, layout), make)

    def point_fpfh_part(self) -> Part:
        """FPFH of the sampled points, in 16 bit."""

        def make() -> Part:
            described = dense_fpfh(self.prepared.dense, self.prepared.rows)
            return {"point_fpfh": torch.from_numpy(described).half()}

        return _find(self.store.path("fpfh-points", self.key), make)


def _find(path: Path, make: Callable[[], Part]) -> Part:
    part = _read(path)
    if part is None:
        part = make()
        _write(path, part)
    return part


def _read(path: Path) -> Part | None:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError):  # a disk fault; the part can be made again
        return None


def _write(path: Path, part: Part) -> None:
    content = save({name: tensor.contiguous() for name, tensor in part.items()})
    write_bytes(path, content)


def _split(features: Features) -> list[Part]:
    """The encoder's part of each cloud of a batch, taps in 16 bit."""
    batch = {
        "taps": features.taps.half().cpu(),
        "cls": features.cls.cpu(),
        "object_embedding": features.object_embedding.cpu(),
        "patch_index": features.patch_index.to(torch.int32).cpu(),
    }
    return [{k: v[i].clone() for k, v in batch.items()} for i in range(len(features.cls))]


def _feature_set(
    category: str,
    samples: Sequence[Sample],
    clouds: Sequence[Part],
    surfaces: Sequence[Part],
    encoded: Sequence[Part],
    targets: Sequence[Part],
    described: Sequence[Part],
) -> FeatureSet:
    def stack(parts: Sequence[Part], name: str) -> Tensor:
        return torch.stack([part[name] for part in parts])

    def counts(part: Part) -> PointCounts:
        prefix = "counts."
        named = {k.removeprefix(prefix): v for k, v in part.items() if k.startswith(prefix)}
        return PointCounts(**{k: v.numpy() for k, v in named.items()})

    region_ids = stack(clouds, "region_ids")
    return FeatureSet(
        category=category,
        samples=tuple(samples),
        features=Features(
            points=stack(clouds, "points"),
            patch_index=stack(encoded, "patch_index").long(),
            taps=stack(encoded, "taps"),
            cls=stack(encoded, "cls"),
            object_embedding=stack(encoded, "object_embedding"),
            surface=stack(surfaces, "surface") if surfaces else None,
            fpfh=stack(targets, "fpfh") if targets else None,
            point_fpfh=stack(described, "point_fpfh") if described else None,
        ),
        labels=region_ids > 0,
        counts=tuple(counts(part) for part in clouds),
        region_ids=region_ids,
        repeated=stack(clouds, "repeated"),
    )
