"""What was loaded once is given again, as long as it fits into memory."""

from __future__ import annotations

from pathlib import Path

from tiny import POINTS, tiny_model, write_tiny_dataset

from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.features.cache import CachedStore
from btp.features.feature_set import NOTHING_MORE
from btp.features.store import DiskStore, FeatureSet, Wanted


class Counted(DiskStore):
    """Notes which categories were loaded."""

    def load(
        self, dataset: Dataset, category: str, split: str, wanted: Wanted = NOTHING_MORE
    ) -> FeatureSet:
        self.loads = [*getattr(self, "loads", []), category]
        return super().load(dataset, category, split, wanted)


def test_loaded_sets_are_kept_until_memory_is_full(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "data"))
    store = Counted(tmp_path / "store", tiny_model(), POINTS)
    cached = CachedStore(store)
    first = cached.load(dataset, "egg", "test", Wanted(fpfh_cloud="sampled"))
    assert cached.load(dataset, "egg", "test") is first  # holds more than was asked for
    more = cached.load(dataset, "egg", "test", Wanted(surface=True))
    assert more.features.surface is not None
    assert more.features.fpfh is not None
    assert cached.load(dataset, "egg", "test", Wanted(fpfh_cloud="sampled")) is more
    assert store.loads == ["egg", "egg"]
    none = CachedStore(store, limit=0)
    for _ in range(2):
        assert len(none.load(dataset, "box", "test")) == 5
    assert store.loads[2:] == ["box", "box"]
    assert none.seconds > 0
    assert none.encoding_seconds == store.encoding_seconds > 0
