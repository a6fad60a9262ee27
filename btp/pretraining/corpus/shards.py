"""The pretraining corpus on disk: clouds made, sampled and described once, in shards."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from btp.data.prepare import prepare
from btp.geometry.local_geometry import local_geometry, surface_channels
from btp.models.point_encoder import PointBERTConfig, patchify
from btp.pretraining.corpus.items import Source
from btp.runtime.files import write_bytes
from btp.runtime.processes import map_in_workers
from btp.runtime.progress import Progress
from btp.types import N_POINTS, Cloud
from btp.weights.state_dict import read_safetensors

SHARD = 128  # clouds a file
TENSORS = ("points", "surface", "labels", "patch_index")
WORDS = ("captions", "nouns", "origins", "defects")
FORMAT = "7"  # raise it when the same seed gives other clouds or a shard other contents


@dataclass(frozen=True)
class CorpusClouds:
    """Clouds of the corpus, ready for the encoder: M of them.

    Attributes:
        points: float32 [M, N, 3], in the unit sphere.
        surface: float16 [M, N, F], `btp.geometry.local_geometry`'s channels.
        labels: bool [M, N], the defective points.
        patch_index: int16 [M, G, K]; the first g patches are those of an encoder with g groups.
        captions: M tuples of wordings.
        nouns: M tuples of everyday things that the cloud resembles, best first.
        origins: M names of families or collections.
        defects: M kinds, "" where there is none.
    """

    points: Tensor
    surface: Tensor
    labels: Tensor
    patch_index: Tensor
    captions: tuple[tuple[str, ...], ...]
    nouns: tuple[tuple[str, ...], ...]
    origins: tuple[str, ...]
    defects: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Return a hash of points and words: other clouds have another."""
        seen = hashlib.blake2b(repr((self.captions, self.nouns)).encode(), digest_size=8)
        seen.update(self.points[:, 0].numpy().tobytes())
        return seen.hexdigest()

    def first(self, count: int) -> CorpusClouds:
        """Return the first `count` clouds."""
        return self.chosen(range(min(count, len(self))))

    def chosen(self, rows: Sequence[int]) -> CorpusClouds:
        """Return some of the clouds."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        chosen: dict[str, Any] = {name: getattr(self, name)[index] for name in TENSORS}
        chosen |= {name: tuple(getattr(self, name)[i] for i in rows) for name in WORDS}
        return CorpusClouds(**chosen)


def load_corpus(
    root: Path,
    count: int,
    seed: int,
    source: Source,
    config: PointBERTConfig,
    workers: int = 2,
) -> CorpusClouds:
    """Load the first `count` clouds of a corpus; shards that are missing are made and kept.

    Args:
        root: folder of shards.
        count: M, rounded up to whole shards.
        seed: of the corpus.
        source: makes the items; picklable, for the worker processes.
        config: of the encoder, for its patches.
        workers: processes; 1 stays in this one.
    """
    layout = f"{N_POINTS}-{config.groups}x{config.group_size}-{_digest(source)}"
    folder = root / f"seed{seed}-{layout}"
    numbers = range(-(-count // SHARD))
    missing = [n for n in numbers if not _path(folder, n).is_file()]
    make = functools.partial(
        _make, folder=folder, seed=seed, source=source, config=config, size=SHARD
    )
    one_thread = functools.partial(torch.set_num_threads, 1)
    made = map_in_workers(make, missing, workers, one_thread)
    for _ in Progress("corpus", len(missing), "shard").over(made):
        pass
    return join([_read(_path(folder, n)) for n in numbers])


def _digest(source: Source) -> str:
    return hashlib.blake2b(f"{FORMAT} {source.key}".encode(), digest_size=4).hexdigest()


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _make(
    number: int, folder: Path, seed: int, source: Source, config: PointBERTConfig, size: int
) -> None:
    """Write one shard."""
    points, surface, labels = [], [], []
    about: dict[str, list[object]] = {name: [] for name in WORDS}
    for index in range(number * size, (number + 1) * size):
        item = source(seed, index)
        prepared = prepare(Cloud(item.points, name=f"corpus {index}"), seed=index)
        points.append(prepared.points)
        surface.append(surface_channels(local_geometry(prepared.dense, prepared.points)))
        labels.append(item.labels[prepared.rows])
        for name, value in zip(
            WORDS, (item.captions, item.nouns, item.origin, item.defect), strict=True
        ):
            about[name].append(value)
    clouds = torch.from_numpy(np.stack(points))
    content = save(
        {
            "points": clouds,
            "surface": torch.from_numpy(np.stack(surface)).half(),
            "labels": torch.from_numpy(np.stack(labels)),
            "patch_index": patchify(clouds, config).to(torch.int16),
        },
        metadata={name: json.dumps(values) for name, values in about.items()},
    )
    write_bytes(_path(folder, number), content)


def _read(path: Path) -> CorpusClouds:
    about, tensors = read_safetensors(path)
    return CorpusClouds(
        **tensors,
        captions=tuple(map(tuple, json.loads(about["captions"]))),
        nouns=tuple(map(tuple, json.loads(about["nouns"]))),
        origins=tuple(json.loads(about["origins"])),
        defects=tuple(json.loads(about["defects"])),
    )


def join(parts: Sequence[CorpusClouds]) -> CorpusClouds:
    """Put the clouds of several corpora into one, in their order."""
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in TENSORS
    }
    joined |= {name: tuple(v for part in parts for v in getattr(part, name)) for name in WORDS}
    return CorpusClouds(**joined)
