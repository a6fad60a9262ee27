import numpy as np
import pytest

from btp.data.synthesis.shapes import CATEGORIES, individual


@pytest.mark.parametrize("category", sorted(CATEGORIES))
def test_a_category_gives_a_surface_with_outward_normals(category: str) -> None:
    solid = CATEGORIES[category](np.random.default_rng(0))
    rng = np.random.default_rng(0)
    points, normals = individual(category, rng)(20_000, rng)
    assert points.shape == normals.shape == (20_000, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert solid.contains((points - 4e-3 * normals).astype(float)).mean() > 0.98
    assert solid.contains((points + 4e-3 * normals).astype(float)).mean() < 0.02


@pytest.mark.parametrize("category", sorted(CATEGORIES))
def test_individuals_differ_and_a_seed_repeats_one(category: str) -> None:
    def extents(seed: int) -> np.ndarray:
        draw = individual(category, np.random.default_rng(seed))
        return np.sort(np.ptp(draw(4000, np.random.default_rng(9))[0], axis=0))

    sizes = np.stack([extents(seed) for seed in range(6)])
    spread = (np.ptp(sizes, axis=0) / sizes.mean(0)).max()
    assert 0.02 < spread < 0.7
    np.testing.assert_array_equal(extents(0), sizes[0])


def test_names_are_at_least_twelve_plain_words() -> None:
    assert len(CATEGORIES) >= 12
    assert all(name.isalpha() and name.islower() for name in CATEGORIES)
