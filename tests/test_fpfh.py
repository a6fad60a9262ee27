from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open3d_fpfh import fpfh_by_open3d, needs_open3d
from scipy.spatial import cKDTree

from btp.errors import ConfigError, DataError
from btp.geometry import fpfh as module
from btp.geometry.fpfh import dense_fpfh, fpfh, patch_fpfh, spacing
from btp.geometry.normals import estimate_normals
from btp.geometry.pairs import few_enough, neighbours_within, pairs_within


def wavy_surface(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x, y = random.uniform(-1, 1, (2, n))
    return np.stack([x, y, 0.2 * np.sin(4 * x) * np.cos(3 * y)], axis=1)


@pytest.mark.parametrize("describe", [fpfh, pytest.param(fpfh_by_open3d, marks=needs_open3d)])
@pytest.mark.parametrize("cloud", [0, 1])
def test_release_targets(golden: Path, describe: Callable, cloud: int) -> None:
    head, encoder = np.load(golden / "head.npz"), np.load(golden / "encoder.npz")
    patch_index = encoder["patch_index_sorted"][cloud].astype(np.int64)
    descriptors = describe(head["points"][cloud])
    assert descriptors.dtype == np.float32
    np.testing.assert_allclose(
        patch_fpfh(descriptors, patch_index, "max"), head["fpfh_patch_max"][cloud], rtol=1e-4
    )
    np.testing.assert_allclose(
        patch_fpfh(descriptors, patch_index, "mean"), head["fpfh_patch_mean"][cloud], rtol=1e-4
    )


@needs_open3d
@pytest.mark.parametrize("scale", [(0.1, 30, 0.2, 100), (0.3, 500, 0.3, 20), (0.01, 30, 0.02, 100)])
def test_open3d_gives_the_same(scale: tuple[float, int, float, int]) -> None:
    points = wavy_surface(1500)
    rows = np.array([3, 1499, 0, 3])
    expected = fpfh_by_open3d(points, *scale)
    np.testing.assert_allclose(fpfh(points, *scale), expected, atol=1e-4)
    np.testing.assert_allclose(fpfh(points, *scale, rows=rows), expected[rows], atol=1e-4)


@pytest.mark.parametrize("seed", [3, 13, 17])
def test_naive_twin(seed: int) -> None:
    # Points with the same neighbours would have parallel normals: which of two such points holds
    # the frame is decided by rounding. In these clouds no two neighbourhoods are the same.
    points = wavy_surface(30, seed)
    near = np.linalg.norm(points[:, None] - points, axis=-1) < 1.0
    assert len(np.unique(near, axis=0)) == 30
    found = fpfh(points, 1.0, 30, 0.9, 10)
    np.testing.assert_allclose(found, naive_fpfh(points, 1.0, 30, 0.9, 10), atol=1e-4)


@pytest.mark.parametrize("describe", [fpfh, pytest.param(fpfh_by_open3d, marks=needs_open3d)])
def test_lonely_and_repeated_points(describe: Callable) -> None:
    lonely = np.array([[0.0, 0, 0], [5, 0, 0], [9, 0, 0]])
    assert (describe(lonely) == 0).all()
    repeated = np.zeros((4, 3))
    found = describe(repeated).reshape(4, 3, 11)
    assert (found[:, :, 5] == 100).all()  # angles of 0 by convention, no weighted part
    assert found.sum() == 4 * 3 * 100


@given(st.integers(0, 1000))
def test_histograms_sum_to_200(seed: int) -> None:
    found = fpfh(wavy_surface(80, seed), 0.4, 20, 0.4, 20)
    sums = found.reshape(-1, 3, 11).sum(axis=-1)
    assert np.isclose(sums, 200, atol=1e-3).all(axis=1).sum() + (sums == 0).all(axis=1).sum() == 80


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = wavy_surface(500)
    whole = fpfh(points, 0.2, 30, 0.3, 50)
    for name in ("btp.geometry.normals", "btp.geometry.fpfh_histograms"):
        monkeypatch.setattr(sys.modules[name], "CHUNK", 77)
    for name in ("btp.geometry.pairs", "btp.geometry.fpfh_histograms"):
        monkeypatch.setattr(sys.modules[name], "BLOCK", 77)
    np.testing.assert_array_equal(fpfh(points, 0.2, 30, 0.3, 50), whole)


def test_normals_of_a_plane_and_of_pairs() -> None:
    plane = np.array([[x, y, 2 * x] for x, y in itertools.product(np.arange(5.0), repeat=2)])
    pair = np.array([[100.0, 0, 0], [100, 1, 0]])
    normals = estimate_normals(cKDTree(np.concatenate([plane, pair])), 3.0, 30)
    np.testing.assert_allclose(np.abs(normals[:25]), [[2 / 5**0.5, 0, 1 / 5**0.5]] * 25, atol=1e-7)
    np.testing.assert_array_equal(normals[25:], [[0, 0, 1]] * 2)


def test_neighbours_are_nearer_than_the_radius() -> None:
    tree = cKDTree(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [2.5, 0, 0]]))
    index, valid = neighbours_within(tree, np.array([1, 3]), radius=1.0, limit=3)
    assert [list(row[ok]) for row, ok in zip(index, valid, strict=True)] == [[1], [3, 2]]
    assert (index[~valid] == 0).all()


@given(st.integers(0, 1000), st.sampled_from([1, 2, 7, 40, 500]), st.floats(0.01, 3))
def test_pairs_are_the_listed_neighbours(seed: int, limit: int, radius: float) -> None:
    tree = cKDTree(wavy_surface(60, seed))
    index, valid = neighbours_within(tree, np.arange(60), radius, limit)
    listed = {(i, j) for i in range(60) for j in index[i, valid[i]] if i != j}
    pairs = pairs_within(tree, radius, limit)
    first, second, squared = pairs.directed(np.ones(60, dtype=bool))
    assert sorted(zip(first, second, strict=True)) == sorted(listed)
    offset = tree.data[first] - tree.data[second]
    np.testing.assert_allclose(squared, (offset * offset).sum(axis=1))
    assert {(min(pair), max(pair)) for pair in listed} == {
        (min(pair), max(pair)) for pair in zip(pairs.first, pairs.second, strict=True)
    }


def test_pairs_at_the_radius_and_ties_at_the_limit() -> None:
    grid = np.array(list(itertools.product(np.arange(5.0), repeat=2)))
    tree = cKDTree(np.pad(grid, ((0, 0), (0, 1))))
    everywhere = np.ones(25, dtype=bool)
    assert len(pairs_within(tree, 1.0, 30).first) == 0
    for limit, inner in ((3, 2), (5, 4), (6, 5)):
        first, _, squared = pairs_within(tree, 1.5, limit).directed(everywhere)
        number = np.bincount(first, minlength=25).reshape(5, 5)
        assert (number[1:4, 1:4] == inner).all()  # of 4 neighbours at 1 and 4 at the root of 2
        assert (squared[first == 12] == 1).sum() == min(inner, 4)


def test_a_crowded_cloud_is_described_from_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    points = wavy_surface(2600)  # 3.4 million pairs
    assert not few_enough(cKDTree(points), 9.0) and few_enough(cKDTree(points), 0.1)

    def refuse(*_: object) -> None:
        raise AssertionError("pairs of a crowded cloud")

    rows = np.arange(0, 2600, 50)
    expected = fpfh(points, 0.4, 20, 0.4, 20, rows=rows)
    for name in ("btp.geometry.normals", "btp.geometry.fpfh_histograms"):
        monkeypatch.setattr(sys.modules[name], "pairs_within", refuse)
    found = fpfh(points, 9.0, 20, 9.0, 20, rows=rows)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pooling_twin(pool: module.Pool) -> None:
    random = np.random.default_rng(0)
    descriptors = random.normal(size=(20, 33)).astype(np.float32)
    patch_index = random.integers(0, 20, (7, 4))
    expected = [
        [getattr(np, pool)([descriptors[row, bin_] for row in patch]) for bin_ in range(33)]
        for patch in patch_index
    ]
    np.testing.assert_allclose(patch_fpfh(descriptors, patch_index, pool), expected, rtol=1e-6)


def test_spacing() -> None:
    grid = np.array(list(itertools.product(np.arange(4.0), repeat=3)))
    assert spacing(0.5 * grid) == 0.5
    assert spacing(np.concatenate([grid, grid])) == 1.0
    with pytest.raises(DataError, match="all points are equal"):
        spacing(np.ones((5, 3)))


def test_dense_descriptors_do_not_depend_on_the_unit_or_on_unused_rows() -> None:
    points = wavy_surface(4000)
    sampled = np.arange(0, 4000, 8)
    found = dense_fpfh(points, sampled)
    unit = spacing(points)
    described = fpfh(points, 8 * unit, 80, 16 * unit, 250)[sampled]
    np.testing.assert_allclose(found, described, atol=1e-4)
    np.testing.assert_allclose(dense_fpfh(64 * points, sampled), found, atol=1e-4)


def test_dense_cloud_is_thinned_by_seed() -> None:
    points = wavy_surface(4000)
    sampled = np.arange(100, 200)
    first, again, other = (
        dense_fpfh(points, sampled, max_points=1000, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    kept = np.union1d(np.random.default_rng(1).choice(4000, 1000, replace=False), sampled)
    thinned = dense_fpfh(points[kept], np.searchsorted(kept, sampled))
    np.testing.assert_array_equal(first, thinned)


def test_bad_input() -> None:
    points = wavy_surface(20)
    with pytest.raises(DataError, match=r"shape \[20, 2\], expected \[N, 3\]"):
        fpfh(points[:, :2])
    with pytest.raises(DataError, match="2 of 20 points are not finite"):
        fpfh(np.where(np.arange(20)[:, None] < 2, np.nan, points))
    with pytest.raises(ConfigError, match=r"\(0.1, 0\) for features; all must be positive"):
        fpfh(points, feature_neighbours=0)
    with pytest.raises(ConfigError, match="pool is 'sum'"):
        patch_fpfh(np.zeros((2, 33), np.float32), np.zeros((1, 2), int), "sum")  # type: ignore[arg-type]


def naive_fpfh(
    points: np.ndarray, normal_radius: float, normal_limit: int, radius: float, limit: int
) -> np.ndarray:
    """FPFH by loops, from the paper; normals from a general solver with the engine's signs."""

    def near(i: int, reach: float, most: int) -> list[int]:
        distance = np.linalg.norm(points - points[i], axis=1)
        return [j for j in np.argsort(distance)[:most] if distance[j] < reach]

    signs = estimate_normals(cKDTree(points), normal_radius, normal_limit)
    normals = np.zeros_like(points)
    for i in range(len(points)):
        close = near(i, normal_radius, normal_limit)
        normal = np.array([0.0, 0, 1])
        if len(close) >= 3:
            normal = np.linalg.eigh(np.cov(points[close].T, bias=True))[1][:, 0]
            normal *= np.sign(normal @ signs[i])
        normals[i] = normal

    spfh = np.zeros((len(points), 3, 11))
    for i in range(len(points)):
        others = near(i, radius, limit)[1:]
        for j in others:
            line = points[j] - points[i]
            cosine_i, cosine_j = (normals[k] @ line / np.linalg.norm(line) for k in (i, j))
            source, target, phi = i, j, cosine_i
            if abs(cosine_i) < abs(cosine_j):
                source, target, phi, line = j, i, -cosine_j, -line
            u = normals[source]
            v = np.cross(line, u) / np.linalg.norm(np.cross(line, u))
            w = np.cross(u, v)
            theta = np.arctan2(w @ normals[target], u @ normals[target])
            shares = [(theta + np.pi) / (2 * np.pi), (v @ normals[target] + 1) / 2, (phi + 1) / 2]
            for angle, share in enumerate(shares):
                spfh[i, angle, min(int(11 * share), 10)] += 100 / len(others)

    result = spfh.copy()
    for i in range(len(points)):
        others = near(i, radius, limit)[1:]
        added = sum(
            (spfh[j] / ((points[j] - points[i]) ** 2).sum() for j in others), np.zeros((3, 11))
        )
        total = added.sum(axis=1, keepdims=True)
        result[i] += np.divide(100 * added, total, out=np.zeros((3, 11)), where=total > 0)
    return result.reshape(-1, 33)
