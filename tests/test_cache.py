"""Sets that many runs share, within the memory given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import POINTS, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.features.cache import SharedStore
from btp.features.store import FeatureStore


def test_runs_share_what_is_loaded_within_the_memory_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def counted(self: FeatureStore, dataset: Any, category: str, *rest: Any) -> Any:
        loads.append(category)
        return load(self, dataset, category, *rest)

    load = FeatureStore.load
    monkeypatch.setattr(FeatureStore, "load", counted)
    dataset = Folder(write_tiny_dataset(tmp_path / "set"))
    plain = FeatureStore(tmp_path / "store", tiny_model(), POINTS)
    shared = SharedStore(plain)
    first = shared.load(dataset, "egg", "test", fpfh_cloud="sampled")
    assert shared.load(dataset, "egg", "test") is first  # holds more than was asked for
    more = shared.load(dataset, "egg", "test", surface=True)
    assert more.features.surface is not None
    assert more.features.fpfh is not None
    assert shared.load(dataset, "egg", "test", fpfh_cloud="sampled") is more
    assert loads == ["egg", "egg"]
    none = SharedStore(plain, limit=0)
    for _ in range(2):
        assert len(none.load(dataset, "box", "test")) == 5
    assert loads[2:] == ["box", "box"]
    assert none.seconds > 0
