"""Farthest point sampling against a naive twin, and thinning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_clouds as clouds

from btp.errors import DataError
from btp.geometry.sampling import farthest_point_sample, thin


def naive_fps(points: np.ndarray, k: int, start: int, skip_origin: bool) -> list[int]:
    allowed = [i for i, p in enumerate(points) if not skip_origin or (p * p).sum() > 1e-3]
    chosen = [start]
    while len(chosen) < k:
        distance = {i: min(((points[i] - points[j]) ** 2).sum() for j in chosen) for i in allowed}
        chosen.append(max(allowed, key=lambda i: (distance[i], -i)))
    return chosen


@settings(max_examples=20, deadline=None)
@given(points=clouds, k=st.integers(1, 40), start=st.integers(0, 39), skip=st.booleans())
def test_fps_equals_naive(points: torch.Tensor, k: int, start: int, skip: bool) -> None:
    points[0, 3:6] *= 1e-3  # some points near the origin
    k = min(k, 30)
    result = farthest_point_sample(points, k, start, skip)
    assert result.dtype == torch.int64
    for cloud, rows in zip(points, result, strict=True):
        assert rows.tolist() == naive_fps(cloud.double().numpy(), k, start, skip)


def test_fps_never_chooses_the_origin_unless_it_starts_there() -> None:
    points = torch.randn(1, 50, 3)
    points[0, 10:20] *= 1e-4
    chosen = set(farthest_point_sample(points, 40, skip_origin=True)[0].tolist())
    assert chosen.isdisjoint(range(10, 20))
    assert farthest_point_sample(points, 1, start=12, skip_origin=True).item() == 12


def test_fps_of_too_few_points_says_so() -> None:
    with pytest.raises(DataError, match="65 of 64 points"):
        farthest_point_sample(torch.randn(1, 64, 3), 65)


def test_thinning_is_always_alike_and_keeps_few_points_whole() -> None:
    points = np.arange(300.0).reshape(100, 3)
    some = thin(points, 30)
    assert len(np.unique(some[:, 0])) == 30 and set(some[:, 0]) <= set(points[:, 0])
    assert np.array_equal(some, thin(points, 30))
    assert thin(points, 100) is points
