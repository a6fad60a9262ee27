"""Registration by Open3D: a turned copy is moved back, the same way each time."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from open3d_fpfh import needs_open3d
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from btp.errors import ConfigError
from btp.geometry.registration import register, require_open3d

EDGE = 0.2


def scan(seed: int = 0, count: int = 4000) -> np.ndarray:
    """Points [count, 3] of a thing that looks like itself in one pose only."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    points *= np.array([1.0, 1.5, 2.5]) / np.linalg.norm(points, axis=1, keepdims=True)
    points[points[:, 2] > 1.5] *= 1.3
    points[points[:, 0] > 0.7] *= 0.8
    return points


@needs_open3d
@pytest.mark.parametrize("seed", range(3))
def test_another_scan_in_another_pose_is_moved_onto_the_template(seed: int) -> None:
    rotation = Rotation.random(random_state=seed).as_matrix()
    moved = scan(seed + 1, 3000) @ rotation.T + [4.0, -20.0, 7.0]
    found = register(moved, scan(), EDGE)
    turn, shift = found[:3, :3], found[:3, 3]
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found[3], [0, 0, 0, 1])
    back = moved @ turn.T + shift
    assert np.linalg.norm(back - scan(seed + 1, 3000), axis=1).max() < EDGE / 2


@needs_open3d
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads() -> None:
    moved = scan(1) @ Rotation.random(random_state=5).as_matrix().T
    found = []
    for threads, seed in ((1, 3), (2, 3), (1, 4)):
        with threadpool_limits(threads, "openmp"):
            found.append(register(moved, scan(), EDGE, seed))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="edge is 0; expected a positive length"):
        register(scan(), scan(), 0)
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ConfigError, match=r"registration=open3d needs Open3D.*\[open3d\]"):
        require_open3d()
