"""Several samplings of one cloud: each a whole one, together closer than any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from btp.data.coverage import SAMPLINGS, SEEN, cover
from btp.data.prepare import prepare
from btp.errors import ConfigError
from btp.types import Cloud, Prepared

N = 128


def prepared(rows: int = 4000, n: int = N) -> Prepared:
    ball = np.random.default_rng(0).normal(size=(rows, 3))
    ball *= np.array([10.0, 20, 30]) / np.linalg.norm(ball, axis=1, keepdims=True)
    return prepare(Cloud(ball + 500), n)


def distances(dense: NDArray, points: NDArray) -> NDArray:
    """All of them, [R, points]: the naive twin of the tree."""
    apart: NDArray = np.linalg.norm(dense[:, None].astype(float) - points[None], axis=2)
    return apart


def test_sampled_is_the_prepared_one() -> None:
    cloud = prepared()
    one = cover(cloud, "sampled")
    np.testing.assert_array_equal(one.points, cloud.points[None])
    np.testing.assert_array_equal(one.nearest, cloud.nearest[None])
    gap = distances(cloud.dense, cloud.points).min(1)
    assert one.spacing == pytest.approx(np.percentile(gap, SEEN) * cloud.scale, rel=1e-5)


def test_dense_fills_the_gaps_of_the_first() -> None:
    cloud = prepared()
    one, all_ = cover(cloud, "sampled"), cover(cloud, "dense")
    assert all_.points.shape == (SAMPLINGS, N, 3) and all_.nearest.shape == (SAMPLINGS, 4000)
    np.testing.assert_array_equal(all_.points[0], one.points[0])
    for points, nearest in zip(all_.points, all_.nearest, strict=True):
        apart = distances(cloud.dense, points)
        np.testing.assert_allclose(apart[np.arange(4000), nearest], apart.min(1), atol=1e-6)
        # each is spread over the whole cloud, nearly as evenly as the first
        assert apart.min(1).max() < 1.5 * distances(cloud.dense, one.points[0]).min(1).max()
    union = all_.points.reshape(-1, 3)
    assert len(np.unique(union, axis=0)) == SAMPLINGS * N  # no point twice
    gap = distances(cloud.dense, union).min(1)
    assert all_.spacing == pytest.approx(np.percentile(gap, SEEN) * cloud.scale, rel=1e-5)
    # four times as many points stand half as far apart
    assert 0.4 < all_.spacing / one.spacing < 0.65


def test_random_starts_alone_would_leave_wider_gaps() -> None:
    cloud = prepared()
    others = [prepare(Cloud(cloud.dense), N, seed).points for seed in range(SAMPLINGS)]
    gap = distances(cloud.dense, np.concatenate(others)).min(1)
    assert cover(cloud, "dense").spacing < 0.95 * np.percentile(gap, SEEN) * cloud.scale


@pytest.mark.parametrize(("rows", "samplings"), [(100, 1), (N, 1), (N + 1, 2), (300, 3), (600, 4)])
def test_no_more_samplings_than_there_are_points_for(rows: int, samplings: int) -> None:
    found = cover(prepared(rows), "dense")
    assert len(found.points) == samplings
    if rows <= N:
        assert found.spacing == 0


def test_the_same_seed_gives_the_same() -> None:
    cloud = prepared()
    first, again, other = cover(cloud, "dense"), cover(cloud, "dense"), cover(cloud, "dense", 1)
    np.testing.assert_array_equal(first.points, again.points)
    assert (first.points[1:] != other.points[1:]).any()


def test_a_coverage_that_is_none() -> None:
    wrong: Any = "full"
    with pytest.raises(ConfigError, match="coverage is 'full'; expected sampled or dense"):
        cover(prepared(), wrong)
