"""Pictures of scans; tables: tests/test_tables.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from btp.drawing.pictures import Panel, camera, draw, facing


def test_the_camera_is_a_rotation_and_sees_what_is_marked() -> None:
    view = camera(1.0, 0.3)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) > 0
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for spot in points[np.abs(points[:, 2]) < 0.9][:5]:
        marked = (np.linalg.norm(points - spot, axis=1) < 0.5).astype(float)
        chosen = facing([Panel("", points), Panel("", points, marked)])
        assert chosen[2] @ points[marked > 0].mean(0) > 0


def test_a_picture_shows_the_scores_in_colour(tmp_path: Path) -> None:
    from matplotlib.image import imread

    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    values = (points[:, 2] > 0.5).astype(float)
    path = tmp_path / "folder" / "picture.png"
    draw([[Panel("shape", points), Panel("truth", points, values)]], path, "a ball")
    image = imread(path)[..., :3]
    spread = image.max(-1) - image.min(-1)  # grey has none
    half = image.shape[1] // 2 - 40
    assert (spread[:, :half] > 0.3).mean() < 0.005
    assert (spread[:, half:] > 0.3).mean() > 0.01
