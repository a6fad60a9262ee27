"""Normalising, sampling, and the way back to the raw cloud."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btp.data import prepare as prepare_module
from btp.data.prepare import normalise, prepare, sample
from btp.errors import DataError
from btp.geometry import neighbours
from btp.types import Cloud


def cloud(seed: int = 0, n: int = 500, offset: float = 0.0, scale: float = 1.0) -> Cloud:
    points = np.random.default_rng(seed).normal(size=(n, 3)) * scale + offset
    return Cloud(points, points[:, 0] > offset, "egg", "egg_1")


@given(
    seed=st.integers(0, 99), offset=st.floats(-1e5, 1e5), scale=st.sampled_from([1e-3, 1.0, 1e3])
)
def test_normalised_cloud_fills_the_unit_sphere(seed: int, offset: float, scale: float) -> None:
    raw = cloud(seed, 200, offset, scale).points
    points, centre, size = normalise(raw)
    assert points.dtype == np.float32
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(points.mean(0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(points * size + centre, raw, atol=1e-6 * size + 1e-10 * abs(offset))


def test_prepared_cloud_leads_back_to_every_raw_point() -> None:
    raw = cloud()
    prepared = prepare(raw, n_points=64)
    assert len(set(prepared.rows.tolist())) == 64
    assert np.array_equal(prepared.points, prepared.dense[prepared.rows])
    distance = ((prepared.dense[:, None] - prepared.points) ** 2).sum(-1)
    assert np.array_equal(prepared.nearest, distance.argmin(1))
    assert prepared.labels is raw.labels
    assert not prepared.repeated


def test_every_sampled_point_is_a_farthest_one() -> None:
    points = normalise(cloud(3).points)[0]
    rows = sample(points, 40, np.random.default_rng(0))
    for step in range(1, 40):
        distance = ((points[:, None] - points[rows[:step]]) ** 2).sum(-1).min(1)
        assert distance[rows[step]] == pytest.approx(distance.max(), rel=1e-5)


def test_the_seed_decides_the_sampling() -> None:
    first, same, other = (prepare(cloud(), 64, seed).rows for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_small_clouds_are_sampled_with_repetition_and_say_so() -> None:
    prepared = prepare(cloud(n=50), n_points=64)
    assert prepared.repeated
    assert len(prepared.rows) == 64
    assert set(prepared.rows.tolist()) == set(range(50))


def test_far_from_the_origin_float64_keeps_the_shape() -> None:
    near, far = cloud(), cloud(offset=5e6)
    np.testing.assert_allclose(normalise(far.points)[0], normalise(near.points)[0], atol=1e-6)


def bad(points: np.ndarray, labels: np.ndarray | None = None) -> Cloud:
    return Cloud(points, labels, "egg", "egg_7")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (bad(np.ones((99, 3))), "within 0 of their centre .*expected an object with an extent"),
        (bad(cloud(offset=5e6).points.astype(np.float32)), "near the rounding"),
        (bad(cloud(n=31).points), "31 points; at least 32"),
        (bad(np.full((40, 3), np.nan)), "40 of 40 points are not finite .*row 0"),
        (bad(cloud(n=40).points, np.zeros(39, bool)), "39 labels for 40 points"),
        (bad(np.zeros((40, 2))), r"shape \[40, 2\]"),
    ],
)
def test_unusable_clouds_are_named(broken: Cloud, message: str) -> None:
    with pytest.raises(DataError, match=f"egg_7: .*{message}"):
        prepare(broken)


def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = cloud(7, offset=12.5, scale=40).points
    centre = raw.mean(0)
    scale = np.linalg.norm(raw - centre, axis=1).max()
    whole = normalise(raw)
    monkeypatch.setattr(prepare_module, "_CHUNK", 33)
    chunked = normalise(raw)
    assert np.array_equal(whole[0], chunked[0])
    assert whole[2] == chunked[2] == pytest.approx(scale, rel=1e-15)
    np.testing.assert_allclose(whole[0], (raw - centre) / scale, atol=1e-7)


def test_memory_beside_the_result_is_a_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = cloud(8, n=200_000)
    prepare(cloud(n=100), 64)  # imports
    monkeypatch.setattr(prepare_module, "_CHUNK", 4096)
    monkeypatch.setattr(neighbours, "_QUERIES", 4 * 4096)
    # Sampling has its own test, in test_bucket_sampling.
    monkeypatch.setattr(prepare_module, "farthest_rows", lambda _, count, __: np.arange(count))
    tracemalloc.start()
    prepared = prepare(raw, 256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    beside = peak - prepared.dense.nbytes - prepared.nearest.nbytes
    assert beside < 0.4 * raw.points.nbytes  # in one piece: twice the cloud
