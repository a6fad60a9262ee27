"""Features are computed once, found again, and never mistaken for others."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ENCODER, POINTS, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.errors import ConfigError, DataError
from btp.features import entries
from btp.features.store import DiskStore, FeatureSet, Wanted
from btp.geometry.local_geometry import local_geometry
from btp.metrics import count_points, regions
from btp.models.point_language import PointLanguageModel


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_tiny_dataset(tmp_path_factory.mktemp("data")))


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store", tiny_model(), POINTS)


def same(a: FeatureSet, b: FeatureSet) -> bool:
    fields = [f.name for f in dataclasses.fields(a.features)]
    pairs = [(getattr(a.features, f), getattr(b.features, f)) for f in fields]
    return all((x is None and y is None) or torch.equal(x, y) for x, y in pairs)


def test_a_set_holds_what_the_encoder_says(data: Folder, store: DiskStore) -> None:
    loaded = store.load(data, "egg", "test")
    assert [s.name for s in loaded.samples] == [
        "egg_positive0", "egg_positive1", "egg_sink0", "egg_sink1", "egg_sink2",
    ]  # fmt: skip
    assert loaded.is_anomalous.tolist() == [False, False, True, True, True]
    with torch.inference_mode():
        expected = store.model.points(loaded.features.points)
    assert torch.equal(loaded.features.patch_index, expected.patch_index)
    torch.testing.assert_close(loaded.features.taps.float(), expected.taps, atol=1e-3, rtol=0)
    torch.testing.assert_close(loaded.features.cls, expected.cls)
    features, labels = loaded.batch(slice(1, 3))
    assert features.taps.dtype == torch.float32
    assert torch.equal(labels, loaded.labels[1:3])


def test_labels_and_counts_are_those_of_the_raw_scan(data: Folder, store: DiskStore) -> None:
    loaded = store.load(data, "egg", "test")
    cloud = data.read(loaded.samples[2])
    assert cloud.labels is not None
    points = cloud.points - cloud.points.mean(0)
    points /= np.linalg.norm(points, axis=1).max()
    sampled = loaded.features.points[2].numpy()
    distance = ((points[:, None] - sampled) ** 2).sum(-1)
    assert np.array_equal(loaded.labels[2], cloud.labels[distance.argmin(0)])
    expected = count_points(distance.argmin(1), regions(points, cloud.labels), POINTS)
    assert np.array_equal(loaded.counts[2].normal, expected.normal)
    assert np.array_equal(loaded.counts[2].anomalous, expected.anomalous)
    np.testing.assert_allclose(loaded.counts[2].overlap, expected.overlap)


def test_nothing_is_computed_twice(
    data: Folder, store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.load(data, "egg", "test", Wanted(surface=True, fpfh_cloud="sampled"))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for name in ("prepare", "local_geometry", "fpfh"):
        monkeypatch.setattr(entries, name, fail)
    monkeypatch.setattr(store.model.points, "forward", fail)
    spent = store.encoding_seconds
    assert spent > 0
    assert same(first, store.load(data, "egg", "test", Wanted(surface=True, fpfh_cloud="sampled")))
    assert store.encoding_seconds == spent


def test_fewer_points_are_the_first_of_more_and_described_once(
    data: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: str, n_points: int) -> FeatureSet:
        store = DiskStore(tmp_path / folder, tiny_model(), n_points)
        return store.load(data, "egg", "test", Wanted(surface=True))

    described: list[int] = []

    def counted(dense: np.ndarray, queries: np.ndarray, **given: Any) -> np.ndarray:
        described.append(len(queries))
        return local_geometry(dense, queries, **given)

    monkeypatch.setattr(entries, "local_geometry", counted)
    some, more, fewer = load("one", POINTS), load("one", POINTS + 20), load("one", POINTS - 20)
    assert described == [POINTS] * 5 + [20] * 5
    assert torch.equal(some.features.points, more.features.points[:, :POINTS])
    assert torch.equal(fewer.features.points, more.features.points[:, : POINTS - 20])
    # as if nothing had been known
    assert same(more, load("other", POINTS + 20))
    assert same(fewer, load("third", POINTS - 20))


def test_geometry_of_other_points_is_not_taken(data: Folder, tmp_path: Path) -> None:
    def load(folder: str) -> FeatureSet:
        store = DiskStore(tmp_path / folder, tiny_model(), POINTS)
        return store.load(data, "egg", "test", Wanted(surface=True))

    first = load("one")
    for path in (tmp_path / "one").glob("geometry/*/*.safetensors"):
        entry = entries.read_entry(path)
        assert entry is not None
        rows, geometry = entry["rows"].flip(0), torch.zeros_like(entry["geometry"])
        entries.write_entry(path, {"rows": rows, "geometry": geometry})
    assert same(first, load("one"))


def test_a_changed_scan_or_setting_is_computed_anew(tmp_path: Path) -> None:
    root = write_tiny_dataset(tmp_path / "data")
    folder = tmp_path / "store"
    first = DiskStore(folder, tiny_model(), POINTS).load(Folder(root), "egg", "test")
    seed = DiskStore(folder, tiny_model(), POINTS, seed=1).load(Folder(root), "egg", "test")
    assert not torch.equal(first.features.points, seed.features.points)
    other = PointLanguageModel(dataclasses.replace(ENCODER, seed=1))
    weights = DiskStore(folder, other, POINTS).load(Folder(root), "egg", "test")
    assert torch.equal(first.features.points, weights.features.points)
    assert not torch.equal(first.features.taps, weights.features.taps)
    scan = root / "egg" / "test" / "egg_positive0.pcd"
    scan.write_bytes((root / "box" / "test" / "box_positive0.pcd").read_bytes())
    changed = DiskStore(folder, tiny_model(), POINTS).load(Folder(root), "egg", "test")
    moved = (first.features.points != changed.features.points).flatten(1).any(1)
    assert moved.tolist() == [True, False, False, False, False]


def test_a_damaged_entry_is_made_again(data: Folder, store: DiskStore) -> None:
    first = store.load(data, "egg", "test")
    for path in store.root.glob("features/*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert same(first, store.load(data, "egg", "test"))


def test_processes_and_threads_may_share_a_store(data: Folder, tmp_path: Path) -> None:
    results: list[FeatureSet] = []

    def load() -> None:
        opened = DiskStore(tmp_path / "shared", tiny_model(), POINTS)
        results.append(opened.load(data, "disc", "test"))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(same(results[0], other) for other in results)
    assert not list((tmp_path / "shared").rglob("*.tmp"))


def test_fpfh_targets_differ_by_cloud(data: Folder, store: DiskStore) -> None:
    sampled = store.load(data, "egg", "test", Wanted(fpfh_cloud="sampled")).features.fpfh
    dense = store.load(data, "egg", "test", Wanted(fpfh_cloud="dense")).features.fpfh
    assert sampled is not None
    assert dense is not None
    assert sampled.shape == dense.shape == (5, 24, 33)
    assert not torch.equal(sampled, dense)
    assert (dense.sum(-1) > 0).all()


def test_points_are_described_once_for_targets_and_baselines(
    data: Folder, store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = DiskStore(tmp_path / "apart", tiny_model(), POINTS)
    expected = apart.load(data, "egg", "test", Wanted(point_fpfh=True)).features.point_fpfh
    targets = apart.load(data, "egg", "test", Wanted(fpfh_cloud="dense")).features.fpfh
    calls = []

    def counted(*given: object) -> object:
        calls.append(given)
        return described(*given)  # type: ignore[arg-type]

    described = entries.dense_fpfh
    monkeypatch.setattr(entries, "dense_fpfh", counted)
    found = store.load(data, "egg", "test", Wanted(fpfh_cloud="dense")).features.fpfh
    both = store.load(data, "egg", "test", Wanted(point_fpfh=True)).features.point_fpfh
    assert len(calls) == 5
    assert both is not None and expected is not None and torch.equal(both, expected)
    assert found is not None and targets is not None and torch.equal(found, targets)


def test_errors_name_the_scan(tmp_path: Path, store: DiskStore) -> None:
    root = write_tiny_dataset(tmp_path / "data")
    (root / "egg" / "test" / "egg_positive1.pcd").write_bytes(b"")
    with pytest.raises(DataError, match=r"egg_positive1\.pcd.*empty"):
        store.load(Folder(root), "egg", "test")
    with pytest.raises(ConfigError, match=r"n_points is 8.*24 patches"):
        DiskStore(tmp_path / "s", tiny_model(), n_points=8)
