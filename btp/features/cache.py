"""A feature store that keeps in memory what it has loaded, for many runs in one process."""

from __future__ import annotations

import os
import time

from btp.data.dataset import Dataset
from btp.features.feature_set import NOTHING_MORE, FeatureSet, Wanted
from btp.features.store import FeatureStore


class CachedStore:
    """Gives every run the same loaded sets, until memory is full; what comes then is loaded anew.

    Runs go through all categories in turn, so that dropping the oldest set would drop the one that
    is needed next: the first ones are kept.

    Attributes:
        limit: bytes of features to keep.
        seconds: spent so far on loading and encoding.
    """

    def __init__(self, store: FeatureStore, limit: int | None = None) -> None:
        """Wrap a store.

        Args:
            store: that loads the sets.
            limit: bytes; None for a quarter of the machine's memory.
        """
        self.model, self.n_points, self.seed = store.model, store.n_points, store.seed
        self.limit = _quarter_of_memory() if limit is None else limit
        self.seconds = 0.0
        self._store = store
        self._kept: dict[tuple[Dataset, str, str], tuple[Wanted, FeatureSet]] = {}

    @property
    def encoding_seconds(self) -> float:
        """Seconds spent so far in the encoder."""
        return self._store.encoding_seconds

    def load(
        self, dataset: Dataset, category: str, split: str, wanted: Wanted = NOTHING_MORE
    ) -> FeatureSet:
        """Load a set as `FeatureStore` does; it may hold more than was wanted."""
        started = time.monotonic()
        key = (dataset, category, split)
        if key in self._kept:
            held, known = self._kept[key]
            if held.covers(wanted):
                return known
            wanted = held.joined(wanted)
        loaded = self._store.load(dataset, category, split, wanted)
        self._keep(key, wanted, loaded)
        self.seconds += time.monotonic() - started
        return loaded

    def _keep(self, key: tuple[Dataset, str, str], wanted: Wanted, data: FeatureSet) -> None:
        self._kept.pop(key, None)
        used = sum(_bytes(kept) for _, kept in self._kept.values())
        if used + _bytes(data) <= self.limit:
            self._kept[key] = (wanted, data)


def _bytes(data: FeatureSet) -> int:
    tensors = [*vars(data.features).values(), data.labels, data.region_ids]
    counts = [values for each in data.counts for values in vars(each).values()]
    return sum(values.nbytes for values in [*tensors, *counts] if values is not None)


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
