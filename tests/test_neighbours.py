"""Nearest neighbours against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_clouds as clouds

from btp.errors import DataError
from btp.geometry import neighbours
from btp.geometry.neighbours import knn, nearest_descriptors, nearest_rows, squared_distances


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
        monkeypatch.setattr(neighbours, "_MANY", many)
        if name == "cells in chunks":
            monkeypatch.setattr(neighbours, "_QUERIES", 1700)
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
        monkeypatch.setattr(neighbours, name, most)
        assert np.array_equal(nearest_rows(queries, points), expected)
        monkeypatch.undo()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_nearest_descriptors_are_exact(offset: float) -> None:
    memory, queries = random(700, 9) + offset, random(2500, 9, seed=1) + offset
    queries[:50] = memory[:50] + 1e-3  # where expanded squares in float32 would lose all
    distances, rows = nearest_descriptors(queries, memory, 3)
    naive = (queries.double()[:, None] - memory.double()).norm(dim=2).topk(3, largest=False)
    # an offset of 1000 leaves float32 coordinates a grain of 6e-5
    np.testing.assert_allclose(distances, naive.values, atol=1e-6 if not offset else 4e-4)
    assert torch.equal(rows[:, 0], naive.indices[:, 0])


def test_as_many_nearest_descriptors_as_there_are() -> None:
    distances, rows = nearest_descriptors(random(5, 2), random(3, 2, seed=1), 3)
    assert sorted(rows[0].tolist()) == [0, 1, 2]
    assert (distances.diff(dim=1) >= 0).all()
