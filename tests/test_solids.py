import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btp.data.synthesis.solids import (
    Solid,
    difference,
    extrude,
    inside_outlines,
    moved,
    revolve,
    sample,
    superquadric,
    sweep,
    union,
)

SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
RING = np.array([(0.6, -0.2), (1.0, -0.2), (1.0, 0.2), (0.6, 0.2)])
TURN = np.array([(0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])

SOLIDS = {
    "ball": superquadric((1, 1, 1), (1, 1)),
    "box": superquadric((1, 0.5, 0.7), (0.2, 0.2)),
    "ring": revolve(RING),
    "ring the other way": revolve(RING[::-1]),
    "fluted": revolve(RING, lambda angle, z: 1 + 0.05 * np.cos(9 * angle) + 0 * z),
    "plate with a hole": extrude([SQUARE, 0.5 * SQUARE], 0.4),
    "bar": sweep(np.linspace((0, 0, 0), (1, 1, 0), 50), 0.2),
    "moved": moved(extrude([SQUARE], 0.4), TURN, (3, 0, 0)),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_normals_are_unit_and_point_out_of_the_body(name: str) -> None:
    solid = SOLIDS[name]
    points, normals = sample(solid, 3000, np.random.default_rng(0))
    assert points.shape == normals.shape == (3000, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
    assert solid.contains(points - 5e-3 * normals).mean() > 0.98
    assert solid.contains(points + 5e-3 * normals).mean() < 0.02


def test_a_ball_is_sampled_uniformly() -> None:
    z = sample(SOLIDS["ball"], 20_000, np.random.default_rng(1))[0][:, 2]
    # Archimedes: equal slices of a sphere have equal area.
    counts = np.histogram(z, np.linspace(-1, 1, 11))[0]
    np.testing.assert_allclose(counts, 2000, atol=5 * np.sqrt(2000))


def test_walls_and_caps_of_a_plate_with_a_hole_get_points_by_their_area() -> None:
    points, _ = sample(SOLIDS["plate with a hole"], 20_000, np.random.default_rng(2))
    on_cap = np.isclose(np.abs(points[:, 2]), 0.2)
    area_caps, area_walls = 2 * (4 - 1), 0.4 * (8 + 4)
    assert on_cap.mean() == pytest.approx(area_caps / (area_caps + area_walls), abs=0.02)
    assert not inside_outlines(points[on_cap, :2], [0.49 * SQUARE]).any()


def test_a_union_has_no_surface_inside_and_a_difference_shows_the_tool() -> None:
    ball = SOLIDS["ball"]
    other = moved(ball, offset=(1, 0, 0))
    points, _ = sample(union(ball, other), 5000, np.random.default_rng(3))
    from_centres = np.linalg.norm(points[:, None] - [(0, 0, 0), (1, 0, 0)], axis=2)
    assert from_centres.min() > 0.98
    np.testing.assert_allclose(from_centres.min(1), 1, atol=0.02)
    points, normals = sample(difference(ball, other), 5000, np.random.default_rng(4))
    inner = np.linalg.norm(points - (1, 0, 0), axis=1) < 1
    assert 0.2 < inner.mean() < 0.5
    # The bite faces the centre of the ball that bit.
    assert (normals[inner] * ((1, 0, 0) - points[inner])).sum(1).min() > 0.95


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_inside_outlines_equals_the_ray_test(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    outlines = [rng.normal(size=(corners, 2)), rng.normal(size=(4, 2))]
    points = rng.normal(size=(50, 2))

    def odd(x: float, y: float) -> bool:
        crossings = 0
        for outline in outlines:
            for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, 0), strict=True):
                if (y0 > y) != (y1 > y):
                    crossings += x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        return crossings % 2 == 1

    assert inside_outlines(points, outlines).tolist() == [odd(x, y) for x, y in points]


def test_the_same_seed_gives_the_same_points() -> None:
    solid: Solid = SOLIDS["ring"]
    first, second = (sample(solid, 500, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
