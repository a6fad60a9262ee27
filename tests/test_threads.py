"""Work in threads keeps its order, and never holds more than the limit lets in."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from btp.features import store as store_module
from btp.runtime.threads import core_count, map_shared, map_within, shared_cores


class Meter:
    """Work that notes how much of it ran together."""

    def __init__(self, first_two: tuple[int, ...] = ()) -> None:
        self.first_two = first_two  # sizes that must run together
        self.lock = threading.Lock()
        self.two = threading.Barrier(2)
        self.running: list[int] = []
        self.together: list[list[int]] = []

    def work(self, size: int) -> int:
        with self.lock:
            self.running.append(size)
            self.together.append(list(self.running))
        if size in self.first_two:
            self.two.wait(timeout=60)
        time.sleep(0.002 * (size % 4))
        with self.lock:
            self.running.remove(size)
        return 10 * size


def test_sizes_in_work_stay_within_the_limit() -> None:
    sizes = [3, 7, 2, 25, 1, 9, 9, 4, 30, 5, 5, 1]
    meter = Meter(first_two=(3, 7))
    assert list(map_within(meter.work, sizes, sizes, 12, workers=4)) == [10 * s for s in sizes]
    for together in meter.together:
        assert sum(together) <= 12 or len(together) == 1, together
    assert max(map(len, meter.together)) > 1


def test_no_more_threads_than_workers() -> None:
    meter = Meter()
    list(map_within(meter.work, [1] * 20, [0] * 20, 12, workers=3))
    assert max(map(len, meter.together)) <= 3


def test_the_first_error_ends_it() -> None:
    done = []

    def work(item: int) -> int:
        if item == 2:
            raise ValueError("item 2")
        done.append(item)
        return item

    results = map_within(work, range(100), [5] * 100, 5, workers=4)
    with pytest.raises(ValueError, match="item 2"):
        list(results)
    assert {0, 1} <= set(done)
    assert len(done) < 99


def test_searches_share_the_cores() -> None:
    with shared_cores() as alone, shared_cores() as second:
        assert alone == core_count()
        assert second == max(1, core_count() // 2)
        with shared_cores() as third:
            assert third == max(1, core_count() // 3)
    with shared_cores() as again:
        assert again == core_count()


def test_short_work_keeps_its_order_and_leaves_the_cores_to_others() -> None:
    meter = Meter()
    assert map_shared(meter.work, [3, 1, 2, 0, 3]) == [30, 10, 20, 0, 30]
    assert max(map(len, meter.together)) <= core_count()
    names: set[str] = set()
    with ExitStack() as searches:
        for _ in range(core_count()):
            searches.enter_context(shared_cores())
        map_shared(lambda _: names.add(threading.current_thread().name), range(5))
    assert names == {threading.current_thread().name}
    with pytest.raises(ValueError, match="invalid literal"):
        map_shared(int, ["1", "two", "3"])


def test_the_store_bounds_the_scans_in_work(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny import POINTS, tiny_model, write_tiny_dataset

    from btp.data.folder import Folder

    data = Folder(write_tiny_dataset(tmp_path / "data", normal=4, defective=4))
    largest = max(p.stat().st_size for p in (tmp_path / "data").rglob("egg*.*"))
    in_work, most, two = [], [], threading.Barrier(2)
    read = Folder.read

    def noted(self, sample):
        in_work.append(sample.name)
        most.append(len(in_work))
        if limit > 1:
            two.wait(timeout=60)  # fails unless a second scan is read meanwhile
        cloud = read(self, sample)
        in_work.remove(sample.name)
        return cloud

    monkeypatch.setattr(Folder, "read", noted)
    monkeypatch.setattr(store_module, "WORKERS", 4)
    for name, limit in (("wide", 100 * largest), ("narrow", 1)):
        monkeypatch.setattr(store_module, "BYTES_IN_WORK", limit)
        most.clear()
        store_module.DiskStore(tmp_path / name, tiny_model(), POINTS).load(data, "egg", "test")
        assert (max(most) > 1) == (name == "wide")
