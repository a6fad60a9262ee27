"""The pretraining corpus on disk: clouds made, sampled and described once, in shards."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from btp.data.prepare import prepare
from btp.geometry.local_geometry import local_geometry, surface_channels
from btp.models.point_encoder import PointBERTConfig, patchify
from btp.pretraining.corpus.items import generate
from btp.runtime.files import write_bytes
from btp.types import N_POINTS, Cloud

SHARD = 128  # clouds a file
FORMAT = "6"  # raise it when the same seed gives other clouds or a shard other contents


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
        families: M names.
    """

    points: Tensor
    surface: Tensor
    labels: Tensor
    patch_index: Tensor
    captions: tuple[tuple[str, ...], ...]
    nouns: tuple[tuple[str, ...], ...]
    families: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of points and words: other clouds have another."""
        seen = hashlib.blake2b(repr((self.captions, self.nouns)).encode(), digest_size=8)
        seen.update(self.points[:, 0].numpy().tobytes())
        return seen.hexdigest()

    def first(self, count: int) -> CorpusClouds:
        """The first `count` clouds."""
        return CorpusClouds(*(getattr(self, field.name)[:count] for field in fields(self)))


def load_corpus(
    root: Path,
    count: int,
    seed: int,
    families: Sequence[str],
    config: PointBERTConfig,
    workers: int = 2,
) -> CorpusClouds:
    """The first `count` clouds of a corpus; shards that are missing are made and kept.

    Args:
        root: folder of shards.
        count: M, rounded up to whole shards.
        seed: of the corpus.
        families: shape families to draw from.
        config: of the encoder, for its patches.
        workers: processes.
    """
    layout = f"{N_POINTS}-{config.groups}x{config.group_size}-{_digest(families)}"
    folder = root / f"seed{seed}-{layout}"
    numbers = range(-(-count // SHARD))
    missing = [n for n in numbers if not _path(folder, n).is_file()]
    make = functools.partial(
        _make, folder=folder, seed=seed, families=tuple(families), config=config
    )
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        bar = tqdm(pool.map(make, missing), "corpus", len(missing), disable=not missing)
        for _ in bar:
            pass
    return _join([_read(_path(folder, n)) for n in numbers])


def _digest(families: Sequence[str]) -> str:
    return hashlib.blake2b(" ".join([FORMAT, *families]).encode(), digest_size=4).hexdigest()


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _make(
    number: int, folder: Path, seed: int, families: tuple[str, ...], config: PointBERTConfig
) -> None:
    """Write one shard."""
    points, surface, labels = [], [], []
    captions, nouns, names = [], [], []
    for index in range(number * SHARD, (number + 1) * SHARD):
        item = generate(seed, index, families)
        prepared = prepare(Cloud(item.points, name=f"corpus {index}"), seed=index)
        points.append(prepared.points)
        surface.append(surface_channels(local_geometry(prepared.dense, prepared.points)))
        labels.append(item.labels[prepared.rows])
        captions.append(item.captions)
        nouns.append(item.nouns)
        names.append(item.family)
    clouds = torch.from_numpy(np.stack(points))
    content = save(
        {
            "points": clouds,
            "surface": torch.from_numpy(np.stack(surface)).half(),
            "labels": torch.from_numpy(np.stack(labels)),
            "patch_index": patchify(clouds, config).to(torch.int16),
        },
        metadata={
            "captions": json.dumps(captions),
            "nouns": json.dumps(nouns),
            "families": json.dumps(names),
        },
    )
    write_bytes(_path(folder, number), content)


def _read(path: Path) -> CorpusClouds:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return CorpusClouds(
        **tensors,
        captions=tuple(map(tuple, json.loads(about["captions"]))),
        nouns=tuple(map(tuple, json.loads(about["nouns"]))),
        families=tuple(json.loads(about["families"])),
    )


def _join(shards: Sequence[CorpusClouds]) -> CorpusClouds:
    names = ("points", "surface", "labels", "patch_index")
    return CorpusClouds(
        **{name: torch.cat([getattr(shard, name) for shard in shards]) for name in names},
        captions=tuple(c for shard in shards for c in shard.captions),
        nouns=tuple(n for shard in shards for n in shard.nouns),
        families=tuple(f for shard in shards for f in shard.families),
    )
