import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from btp.data.synthesis import defects
from btp.data.synthesis.areas import object_radius
from btp.errors import ConfigError, DataError

N = 8000
DISPLACING = ("bend", "bulge", "scratch", "sink")
REMOVING = ("broken", "crack", "hole")


def ball(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    normals = np.random.default_rng(seed).normal(size=(N, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return 2 * normals, normals


def sheet(thickness: float) -> tuple[np.ndarray, np.ndarray]:
    """Two parallel squares whose normals point away from each other."""
    flat = np.random.default_rng(1).uniform(-1, 1, (N, 2))
    side = np.where(np.arange(N) % 2, 1.0, -1.0)
    zeros = np.zeros(N)
    points = np.column_stack([flat, side * thickness / 2])
    return points, np.column_stack([zeros, zeros, side])


def test_all_kinds_are_tested() -> None:
    assert sorted(DISPLACING + REMOVING) == sorted(defects.KINDS)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("kind", sorted(defects.KINDS))
def test_share_depth_and_scale(kind: str, seed: int) -> None:
    points, normals = ball()
    moved, labels = defects.apply(kind, points, normals, np.random.default_rng(seed))
    assert moved.dtype == np.float32
    assert labels.dtype == bool
    assert len(moved) == len(labels)
    assert 0.009 <= labels.mean() <= 0.066
    # No point lies further from the ball than the greatest depth, or than a broken corner is deep.
    off = np.abs(np.linalg.norm(moved, axis=1) - 2) / 2
    if kind != "broken":
        assert off.max() < defects.DEPTH[1] * 1.05
    again, same = defects.apply(kind, 1e-3 * points, normals, np.random.default_rng(seed))
    np.testing.assert_array_equal(same, labels)
    np.testing.assert_allclose(again, 1e-3 * moved, atol=1e-6)


@pytest.mark.parametrize("kind", DISPLACING)
def test_labels_are_the_points_that_moved_visibly(kind: str) -> None:
    points, normals = ball()
    moved, labels = defects.apply(kind, points, normals, np.random.default_rng(3), 0.04, 0.06)
    shift = np.linalg.norm(moved - points, axis=1)
    depth = 0.06 * object_radius(points)
    np.testing.assert_array_equal(labels, shift > defects.VISIBLE * depth)
    assert labels.sum() == pytest.approx(0.04 * N, abs=1)
    assert 0.5 * depth < shift.max() < depth * 1.001


@pytest.mark.parametrize("kind", REMOVING)
def test_where_material_is_gone_the_rim_is_labelled(kind: str) -> None:
    points, normals = ball()
    left, labels = defects.apply(kind, points, normals, np.random.default_rng(4), 0.03, 0.04)
    assert len(left) < N
    if kind == "hole":  # the middle is empty, and the rim runs all around it
        middle = left[labels].mean(0)
        middle *= 2 / np.linalg.norm(middle)
        around = left[labels] - middle
        assert np.linalg.norm(left - middle, axis=1).min() > 0.1
        across = np.linalg.svd(middle[None])[2][1:]
        angle = np.arctan2(*(around @ across.T).T)
        assert np.histogram(angle, 12, (-np.pi, np.pi))[0].min() > 0
    untouched = cKDTree(points).query(left[~labels])[0]
    assert untouched.max() <= 1.001 * defects.VISIBLE * 0.04 * object_radius(points)
    # Rows that are left keep their order.
    source = cKDTree(points).query(left[~labels])[1]
    assert (np.diff(source) > 0).all()


@pytest.mark.parametrize(("kind", "sign"), [("bulge", 1), ("sink", -1), ("scratch", -1)])
def test_direction_of_displacement(kind: str, sign: int) -> None:
    points, normals = ball()
    moved, labels = defects.apply(kind, points, normals, np.random.default_rng(5))
    off = np.linalg.norm(moved, axis=1) - 2
    assert (sign * off[labels] > 0).all()
    np.testing.assert_allclose(off[~labels], 0, atol=0.1 * np.abs(off).max() + 1e-6)


@pytest.mark.parametrize("kind", ["bulge", "crack", "hole", "scratch", "sink"])
def test_the_back_of_a_thin_wall_is_left_alone(kind: str) -> None:
    points, normals = sheet(0.05)
    left, labels = defects.apply(kind, points, normals, np.random.default_rng(6), 0.03, 0.03)
    untouched = cKDTree(left[~labels]).query(points)[0] < 1e-6
    whole = [bool(untouched[normals[:, 2] == side].all()) for side in (-1, 1)]
    assert sorted(whole) == [False, True]


def test_a_sink_does_not_pierce_a_thin_wall() -> None:
    points, normals = sheet(0.04)
    moved, _ = defects.apply("sink", points, normals, np.random.default_rng(7), 0.03, 0.08)
    depth = np.linalg.norm(moved - points, axis=1).max()
    assert depth == pytest.approx(0.8 * 0.04, rel=0.05)


def test_distance_runs_along_the_surface() -> None:
    """Two bars side by side, closer to each other than the defect is wide: only one is touched."""
    rng = np.random.default_rng(8)
    angle, z = rng.uniform(0, 2 * np.pi, N), rng.uniform(-1, 1, N)
    normals = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(N)])
    side = np.where(np.arange(N) % 2, 1.0, -1.0)
    points = 0.2 * normals + np.column_stack([0.23 * side, np.zeros(N), z])
    moved, labels = defects.apply("bulge", points, normals, rng, 0.05, 0.02)
    assert len(set(side[labels])) == 1
    assert set(side[np.linalg.norm(moved - points, axis=1) > 1e-6]) == set(side[labels])


def test_errors_say_what_was_expected() -> None:
    points, normals = ball()
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="unknown defect 'rust'; expected one of bend, broken"):
        defects.apply("rust", points, normals, rng)
    with pytest.raises(DataError, match="at least 1000 points"):
        defects.apply("bulge", points[:500], normals[:500], rng)
    with pytest.raises(DataError, match="a normal for each"):
        defects.apply("bulge", points, normals[:-1], rng)
