"""Patches of points: rows, means and nearest centres."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from btp.geometry.neighbours import knn, squared_distances
from btp.geometry.patches import gather, nearest_patch, patches_to_points


def test_gather_takes_rows_of_each_cloud() -> None:
    values = torch.arange(24.0).view(2, 4, 3)
    index = torch.tensor([[[0, 3]], [[2, 2]]])
    result = gather(values, index)
    assert result.shape == (2, 1, 2, 3)
    for b, g, k in np.ndindex(2, 1, 2):
        assert torch.equal(result[b, g, k], values[b, index[b, g, k]])


@pytest.mark.parametrize("uncovered", ["zero", "nan"])
def test_patches_to_points_is_the_mean_over_holding_patches(uncovered: str) -> None:
    rng = np.random.default_rng(0)
    index = torch.from_numpy(np.stack([rng.permutation(30)[:4] for _ in range(12)])).view(2, 6, 4)
    values = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    result = patches_to_points(values, index, 30, uncovered)
    for b in range(2):
        for point in range(30):
            held = [values[b, g] for g in range(6) if point in index[b, g].tolist()]
            if held:
                assert torch.isclose(result[b, point], torch.stack(held).mean())
            else:
                assert result[b, point].isnan() if uncovered == "nan" else result[b, point] == 0
    assert torch.autograd.gradcheck(lambda v: patches_to_points(v, index, 30), values)


def test_nearest_patch_is_that_of_the_nearest_centre() -> None:
    points = torch.randn(2, 40, 3)
    index = knn(points[:, :5], points, 6)
    expected = squared_distances(points, points[:, :5]).argmin(-1)
    assert torch.equal(nearest_patch(points, index), expected)
