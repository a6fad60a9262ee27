"""Farthest point sampling in boxes chooses what a plain loop chooses, and what fpsample does."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from btp.geometry import bucket_sampling
from btp.geometry.bucket_sampling import farthest_rows, farthest_rows_numpy

SHAPES = ("cloud", "grid", "duplicates", "line", "spot", "steps")


def make(shape: str, n: int, seed: int) -> NDArray[np.float32]:
    """Points of some kind, most kinds with many equal distances."""
    rng = np.random.default_rng(seed)
    if shape == "cloud":
        points = rng.normal(size=(n, 3))
    elif shape == "grid":
        side = int(np.ceil(n ** (1 / 3)))
        points = np.indices((side,) * 3).reshape(3, -1).T[rng.permutation(side**3)[:n]] / 8
    elif shape == "duplicates":
        points = rng.normal(size=(max(1, n // 5), 3))[rng.integers(max(1, n // 5), size=n)]
    elif shape == "line":
        points = np.outer(rng.permutation(n), [0.0, 0.25, 0.0])
    elif shape == "spot":
        points = np.full((n, 3), 0.1)
    else:  # values on a few levels, whose mean is not exact in float32
        points = rng.integers(3, size=(n, 3)) * 0.1
    return points.astype(np.float32)


def tree_order(points: NDArray[np.float32]) -> list[int]:
    """Rows in the order of a tree that is built point by point."""
    rows = list(range(len(points)))
    height = min(7, len(points).bit_length() - 1)

    def divide(start: int, end: int, level: int) -> None:
        if level == height or end - start == 1:
            return
        box = points[rows[start:end]]
        axis = int((box.max(0) - box.min(0)).argmax())
        total = np.float32(0)
        for value in box[:, axis]:
            total = np.float32(total + value)
        mean = total / np.float32(end - start)
        left, right = start, end - 1
        while True:
            while left <= right and points[rows[left], axis] < mean:
                left += 1
            while left <= right and points[rows[right], axis] >= mean:
                right -= 1
            if left > right:
                break
            rows[left], rows[right] = rows[right], rows[left]
            left, right = left + 1, right - 1
        middle = min(max(left, start + 1), end - 1)
        divide(start, middle, level + 1)
        divide(middle, end, level + 1)

    divide(0, len(points), 0)
    return rows


def plain_rows(points: NDArray[np.float32], count: int, start: int) -> list[int]:
    """The loop over all points in every step."""
    order = np.array(tree_order(points))
    ordered = points[order]
    nearest = np.full(len(points), np.inf, np.float32)
    places = [start]
    for _ in range(count):
        x, y, z = np.square(ordered - ordered[places[-1]]).T
        nearest = np.minimum(nearest, (x + y) + z)
        places.append(int(nearest.argmax()))
    return order[places[:count]].tolist()


@pytest.mark.parametrize("shape", SHAPES)
@given(n=st.integers(2, 400), seed=st.integers(0, 10**6), box=st.sampled_from([1, 7, 60, 6000]))
def test_the_rows_are_those_of_the_plain_loop(shape: str, n: int, seed: int, box: int) -> None:
    points, start = make(shape, n, seed), seed % n
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_sampling, "_BOX", box)
        rows = farthest_rows_numpy(points, n // 2 + 1, start)
    assert rows.dtype == np.int64
    assert rows.tolist() == plain_rows(points, n // 2 + 1, start)


@pytest.mark.parametrize("shape", SHAPES)
@given(n=st.integers(2, 5000), seed=st.integers(0, 10**6), box=st.sampled_from([20, 6000]))
def test_the_rows_are_those_of_fpsample(shape: str, n: int, seed: int, box: int) -> None:
    pytest.importorskip("fpsample")
    points, start = make(shape, n, seed), seed % n
    count = min(n, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_sampling, "_BOX", box)
        rows = farthest_rows_numpy(points, count, start)
    assert np.array_equal(rows, farthest_rows(points, count, start))


def test_many_points_in_many_boxes_give_the_rows_of_fpsample() -> None:
    pytest.importorskip("fpsample")
    points = make("cloud", 300_000, 5)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert np.array_equal(farthest_rows_numpy(points, 2048, 9), farthest_rows(points, 2048, 9))


def test_recorded_rows_of_fpsample() -> None:
    """What fpsample 0.3.3 chose, for the Pythons that it has no wheels for."""
    spiral = np.arange(200)
    points = np.c_[spiral % 7, spiral * spiral % 11, spiral * 3 % 13].astype(np.float32)
    assert farthest_rows(points, 12, 20).tolist() == [
        109,
        30,
        91,
        99,
        41,
        84,
        90,
        195,
        11,
        182,
        97,
        63,
    ]


def test_numpy_samples_where_fpsample_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = make("cloud", 500, 3)
    expected = farthest_rows(points, 50, 4)
    monkeypatch.setitem(sys.modules, "fpsample", None)
    assert np.array_equal(farthest_rows(points, 50, 4), expected)


def test_memory_is_at_most_that_of_fpsample() -> None:
    """fpsample copies the points (12 bytes each) and keeps 24 bytes for each of them."""
    points = make("cloud", 200_000, 8)
    farthest_rows_numpy(points[:100], 10, 0)  # imports
    tracemalloc.start()
    farthest_rows_numpy(points, 256, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36 * len(points)
