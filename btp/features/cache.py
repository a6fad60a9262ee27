"""A feature store that keeps what it has loaded, for many runs in one process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from btp.data.dataset import Dataset
from btp.features.store import FeatureSet, FeatureStore


@dataclass(frozen=True)
class _Parts:
    """Which optional parts a set was loaded with."""

    surface: bool
    fpfh_cloud: str | None
    point_fpfh: bool

    def hold(self, other: _Parts) -> bool:
        return (
            self.surface >= other.surface
            and other.fpfh_cloud in (None, self.fpfh_cloud)
            and self.point_fpfh >= other.point_fpfh
        )

    def joined(self, other: _Parts) -> _Parts:
        return _Parts(
            self.surface or other.surface,
            other.fpfh_cloud or self.fpfh_cloud,
            self.point_fpfh or other.point_fpfh,
        )


class SharedStore(FeatureStore):
    """Gives every run the same loaded sets, until memory is full; what comes then is loaded anew.

    Runs go through all categories in turn, so that dropping the oldest set would drop the one that
    is needed next: the first ones are kept.

    Attributes:
        limit: bytes of features to keep.
        seconds: spent so far on loading and encoding.
    """

    def __init__(self, store: FeatureStore, limit: int | None = None) -> None:
        """Share a store's sets.

        Args:
            store: whose folder, model and settings are used.
            limit: bytes; None for a quarter of the machine's memory.
        """
        super().__init__(store.root, store.model, store.n_points, store.seed)
        self.limit = _quarter_of_memory() if limit is None else limit
        self.seconds = 0.0
        self._kept: dict[tuple[Dataset, str, str], tuple[_Parts, FeatureSet]] = {}

    def load(
        self,
        dataset: Dataset,
        category: str,
        split: str,
        surface: bool = False,
        fpfh_cloud: str | None = None,
        point_fpfh: bool = False,
    ) -> FeatureSet:
        """As `FeatureStore.load`; the set may hold more optional parts than were asked for."""
        started = time.monotonic()
        key = (dataset, category, split)
        wanted = _Parts(surface, fpfh_cloud, point_fpfh)
        parts, known = self._kept.get(key, (None, None))
        if known is None or parts is None or not parts.hold(wanted):
            parts = wanted if parts is None else parts.joined(wanted)
            known = super().load(
                dataset, category, split, parts.surface, parts.fpfh_cloud, parts.point_fpfh
            )
            self._keep(key, parts, known)
        self.seconds += time.monotonic() - started
        return known

    def _keep(self, key: tuple[Dataset, str, str], parts: _Parts, data: FeatureSet) -> None:
        self._kept.pop(key, None)
        used = sum(_bytes(kept) for _, kept in self._kept.values())
        if used + _bytes(data) <= self.limit:
            self._kept[key] = (parts, data)


def _bytes(data: FeatureSet) -> int:
    tensors = [*vars(data.features).values(), data.labels, data.region_ids]
    counts = [values for each in data.counts for values in vars(each).values()]
    return sum(values.nbytes for values in [*tensors, *counts] if values is not None)


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
