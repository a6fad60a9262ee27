"""Pictures of clouds: what is in front, from which side, in which colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from btp.drawing.cameras import camera, candidate_cameras
from btp.drawing.pictures import Panel, best_camera, camera_of_row, draw
from btp.drawing.render import DiscCloud, find_front, render

RED = np.array([0.9, 0.1, 0.1])


def sphere(n: int = 4000) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(path)[..., :3])


def test_the_back_does_not_shine_through() -> None:
    ball = sphere()
    view = camera()
    behind = (ball @ view[2]) < -0.05
    colours = np.where(behind[:, None], RED, 0.8)
    image = render(DiscCloud.from_points(ball), view, [colours], 120)[0]
    drawn = image[..., 3] > 0.99
    assert drawn.mean() == pytest.approx(np.pi / 4 * 0.94**2, abs=0.03)  # a disc without holes
    middle = image[26:94, 26:94, :3]
    assert (np.ptp(middle, axis=-1) > 0.05).mean() < 0.002
    front = find_front(DiscCloud.from_points(ball), view, 120)
    assert behind[front.owner[front.owner >= 0]].mean() < 0.03  # at the rim


def test_light_comes_from_the_upper_left_and_distance_fades() -> None:
    grey = np.full((4000, 3), 0.8)
    image = render(DiscCloud.from_points(sphere()), camera(), [grey], 120)[0][..., 0]
    assert image[35, 40] > image[85, 80] + 0.1
    flat = np.random.default_rng(1).uniform(-1, 1, (6000, 3)) * [1, 1, 0]
    tilted = camera(0.0, np.deg2rad(30))
    one, other = (
        render(DiscCloud.from_points(flat), tilted, [np.zeros((6000, 3))], 120, page=page)[0]
        for page in ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    )
    rows = np.flatnonzero((one[..., 3] > 0.99).any(1))
    far, near = one[rows[3], 60, 0], one[rows[-3], 60, 0]
    assert far > near + 0.15  # towards the page's white
    assert other[..., :3].max() == 0


def test_the_camera_shows_what_is_marked() -> None:
    ball = sphere(1500)
    for spot in (np.array([0, 0, 1.0]), np.array([0.6, -0.8, 0]), np.array([-1.0, 0, 0])):
        marked = ball @ spot > 0.9
        chosen = best_camera(ball, marked)
        assert chosen[2] @ spot > 0.6
    assert np.array_equal(best_camera(ball, np.zeros(1500, bool)), camera())
    assert all(np.allclose(view @ view.T, np.eye(3)) for view, _ in candidate_cameras())
    # a mark inside an open cup is seen from above, not through its side
    cup = ball[ball[:, 2] < 0.3]
    inside = np.concatenate([cup, 0.9 * cup])
    marked = np.zeros(len(inside), bool)
    marked[len(cup) :] = cup[:, 2] < -0.8
    assert best_camera(inside, marked)[2, 2] > 0.8


def test_empty_rows_of_pixels_are_cut_off(tmp_path: Path) -> None:
    flat = sphere() * [1, 1, 0.2]
    side = camera(0.0, 0.0)
    draw([[Panel("flat", flat, view=side)]], tmp_path / "flat.png")
    draw([[Panel("round", sphere(), view=side)]], tmp_path / "round.png")
    low, high = (pixels(tmp_path / name).shape[0] for name in ("flat.png", "round.png"))
    assert low < 0.65 * high


def test_the_camera_is_a_rotation_and_sees_what_is_marked() -> None:
    view = camera(1.0, 0.3)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) > 0
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for spot in points[np.abs(points[:, 2]) < 0.9][:5]:
        marked = (np.linalg.norm(points - spot, axis=1) < 0.5).astype(float)
        chosen = camera_of_row([Panel("", points), Panel("", points, marked)])
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
