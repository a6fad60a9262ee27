"""Every operation against a slow twin that cannot be misread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from btp.errors import DataError
from btp.geometry import points as geometry
from btp.geometry.points import (
    batches,
    farthest_point_sample,
    gather,
    knn,
    nearest_patch,
    nearest_rows,
    patches_to_points,
    squared_distances,
)


def naive_fps(points: np.ndarray, k: int, start: int, skip_origin: bool) -> list[int]:
    allowed = [i for i, p in enumerate(points) if not skip_origin or (p * p).sum() > 1e-3]
    chosen = [start]
    while len(chosen) < k:
        distance = {i: min(((points[i] - points[j]) ** 2).sum() for j in chosen) for i in allowed}
        chosen.append(max(allowed, key=lambda i: (distance[i], -i)))
    return chosen


clouds = st.integers(0, 2**32 - 1).map(
    lambda seed: torch.from_numpy(
        np.random.default_rng(seed).normal(size=(2, 40, 3)).astype(np.float32)
    )
)


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


@settings(max_examples=20, deadline=None)
@given(points=clouds, k=st.integers(1, 40))
def test_knn_equals_naive(points: torch.Tensor, k: int) -> None:
    queries = points[:, :7] + 0.1
    index = knn(queries, points, k)
    for b in range(2):
        for m in range(7):
            distance = ((points[b] - queries[b, m]) ** 2).sum(1)
            expected = sorted(range(40), key=lambda i: float(distance[i]))[:k]
            assert index[b, m].tolist() == expected


def test_knn_puts_a_point_before_its_neighbours() -> None:
    points = torch.randn(2, 30, 3)
    assert (knn(points, points, 5)[..., 0] == torch.arange(30)).all()
    with pytest.raises(DataError, match="31 nearest neighbours"):
        knn(points, points, 31)


def test_squared_distances_keep_small_ones() -> None:
    a = torch.tensor([[[100.0, 0, 0]]])
    b = a + torch.tensor([[[1e-4, 0, 0]]])
    exact = float((a.double() - b.double()).square().sum())
    assert squared_distances(a, b).item() == pytest.approx(exact, rel=1e-6)


def test_gather_takes_rows_of_each_cloud() -> None:
    values = torch.arange(24.0).view(2, 4, 3)
    index = torch.tensor([[[0, 3]], [[2, 2]]])
    result = gather(values, index)
    assert result.shape == (2, 1, 2, 3)
    for b, g, k in np.ndindex(2, 1, 2):
        assert torch.equal(result[b, g, k], values[b, index[b, g, k]])


@pytest.mark.parametrize("uncovered", ["zero", "nan"])
def test_patches_to_points_is_the_mean_over_holding_patches(uncovered: str) -> None:
    rng = np.random.default_rng(0)
    index = torch.from_numpy(np.stack([rng.permutation(30)[:4] for _ in range(12)])).view(2, 6, 4)
    values = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    result = patches_to_points(values, index, 30, uncovered)
    for b in range(2):
        for point in range(30):
            held = [values[b, g] for g in range(6) if point in index[b, g].tolist()]
            if held:
                assert torch.isclose(result[b, point], torch.stack(held).mean())
            else:
                assert result[b, point].isnan() if uncovered == "nan" else result[b, point] == 0
    assert torch.autograd.gradcheck(lambda v: patches_to_points(v, index, 30), values)


def test_nearest_patch_is_that_of_the_nearest_centre() -> None:
    points = torch.randn(2, 40, 3)
    index = knn(points[:, :5], points, 6)
    expected = squared_distances(points, points[:, :5]).argmin(-1)
    assert torch.equal(nearest_patch(points, index), expected)


SHAPES = {
    "sphere": lambda q: q / np.linalg.norm(q, axis=1, keepdims=True),
    "volume": lambda q: q,
    "plane": lambda q: q * [1, 0, 3],
    "line": lambda q: q * [0, 1, 0],
    "with an outlier": lambda q: np.r_[q[1:], [[900.0, 0, 0]]],  # all others lie in one cell
    "far from the origin": lambda q: q + 5e4,
}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 5, 80])
def test_nearest_rows_equals_brute_force_for_few_and_for_many_queries(
    n: int, shape: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    queries = SHAPES[shape](rng.normal(size=(6000, 3))).astype(kind)
    points = rng.permutation(queries)[:n]
    exact = queries.astype(np.float64)[:, None] - points
    distance = (exact**2).sum(-1)
    ways = {"tree": 10**9, "cells": 0, "cells in chunks": 0}
    for name, many in ways.items():
        monkeypatch.setattr(geometry, "_MANY", many)
        if name == "cells in chunks":
            monkeypatch.setattr(geometry, "_QUERIES", 1700)
        found = nearest_rows(queries, points)
        assert found.dtype == np.int32
        reached = distance[np.arange(len(queries)), found]
        np.testing.assert_allclose(reached, distance.min(1), rtol=1e-9, atol=1e-12, err_msg=name)


def test_nearest_rows_of_crowded_cells_are_found_by_the_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    queries, points = rng.normal(size=(5000, 3)), rng.normal(size=(40, 3))
    expected = ((queries[:, None] - points) ** 2).sum(-1).argmin(1)
    for name, most in (("_FEW", 3), ("_TOGETHER", 2)):
        monkeypatch.setattr(geometry, name, most)
        assert np.array_equal(nearest_rows(queries, points), expected)
        monkeypatch.undo()


@given(n=st.integers(0, 50), size=st.integers(1, 20))
def test_batches_cover_everything_once(n: int, size: int) -> None:
    rows = [row for chunk in batches(n, size) for row in range(n)[chunk]]
    assert rows == list(range(n))
