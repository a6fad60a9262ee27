"""What a scanner sees of an object, and the sets that are written of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btp.data.formats import read_labelled_points, read_points
from btp.data.synthesis import scanner
from btp.data.synthesis.scanner import SetSize, random_pose, scan_noise, visible, write_set
from btp.data.synthesis.shapes import individual, individuals
from btp.errors import DataError

SMALL = SetSize(train=1, normal=1, defective=2)


def balls(seed: int, *radii: float) -> tuple[np.ndarray, np.ndarray]:
    normals = np.random.default_rng(seed).normal(size=(9000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.concatenate([r * normals for r in radii]), np.concatenate([normals] * len(radii))


def test_noise_has_the_level_asked_for() -> None:
    points, _ = balls(0, 5)
    noise = scan_noise(points, np.random.default_rng(1), 0.01) - points
    assert noise.std() == pytest.approx(0.05, rel=0.03)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_a_pose_is_a_rotation_and_a_shift(seed: int) -> None:
    corner = np.array([(0.0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    a = random_pose(corner, np.random.default_rng(seed))
    axes = a[1:] - a[0]
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_rotations_have_no_favoured_direction() -> None:
    rng = np.random.default_rng(2)
    pair = np.array([(0.0, 0, 0), (0, 0, 1)])
    poses = np.stack([random_pose(pair, rng) for _ in range(2000)])
    axis = poses[:, 1] - poses[:, 0]
    np.testing.assert_allclose(axis.mean(0), 0, atol=0.06)
    np.testing.assert_allclose((axis**2).mean(0), 1 / 3, atol=0.03)


def test_a_viewpoint_sees_the_near_side_and_nothing_behind_it() -> None:
    points, normals = balls(3, 1.0, 0.5)
    direction = np.array([0.6, 0.0, 0.8])
    seen = visible(points, normals, direction)
    outer, facing = np.arange(len(points)) < 9000, normals @ direction
    assert seen[outer & (facing > 0.2)].all()
    assert not seen[facing < 0].any()
    assert not seen[~outer].any()


def test_a_scan_counts_its_points_and_labels_a_share() -> None:
    rng = np.random.default_rng(4)
    draw = individual("vase", rng)
    points, labels = scanner.simulate(draw, None, rng)
    assert points.dtype == np.float32
    assert scanner.POINTS[0] <= len(points) < scanner.POINTS[1]
    assert not labels.any()
    points, labels = scanner.simulate(draw, "bulge", rng, one_sided=True)
    assert len(points) >= scanner.POINTS[0]
    assert 0.01 <= labels.mean() <= 0.06


def test_the_layout_and_its_label_files(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", individuals, ["ring"], 0, SMALL, workers=1)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == [
        "ring/GT/ring_bend0.txt",
        "ring/GT/ring_broken0.txt",
        "ring/test/ring_bend0.pcd",
        "ring/test/ring_broken0.pcd",
        "ring/test/ring_positive0.pcd",
        "ring/train/ring_template0.pcd",
    ]
    points, labels = read_labelled_points(root / "ring/GT/ring_bend0.txt")
    scan = read_points(root / "ring/test/ring_bend0.pcd")
    np.testing.assert_array_equal(points.astype(np.float32), scan)
    assert 0.009 < labels.mean() < 0.061


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scanner, "write_labelled_txt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "set", individuals, ["ring"], 0, SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="already there and not empty"):
        write_set(tmp_path, individuals, ["ring"], 0, SMALL, workers=1)
    assert (tmp_path / "notes.txt").read_text() == "mine"
