"""Normals that agree along the surface, and principal axes."""

from __future__ import annotations

import numpy as np

from btp.geometry.orientation import neighbour_offsets, oriented_normals, principal_axes


def test_normals_point_outward_on_a_torus_and_a_box() -> None:
    rng = np.random.default_rng(4)
    u, v = rng.uniform(0, 2 * np.pi, (2, 8000))
    ring = np.column_stack([np.cos(u), np.sin(u), 0 * u])
    true = ring * np.cos(v)[:, None] + np.sin(v)[:, None] * (0, 0, 1)
    cosine = (oriented_normals((ring + 0.35 * true).astype(np.float32)) * true).sum(1)
    assert (cosine > 0.9).mean() > 0.99
    faces, side = rng.uniform(-1, 1, (8000, 3)), rng.integers(0, 3, 8000)
    true = np.eye(3)[side] * rng.choice([-1, 1], 8000)[:, None]
    box = np.where(true != 0, true, faces)
    assert ((oriented_normals(box.astype(np.float32)) * true).sum(1) > 0).mean() > 0.99


def test_principal_axes_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    cloud = (rng.normal(size=(200, 3)) * (3, 1, 0.2)).astype(np.float32)
    index = np.stack([rng.permutation(200)[:30] for _ in range(7)])
    planes = np.ascontiguousarray(cloud.T)
    offsets = neighbour_offsets(planes, planes[:, :7], index)
    values, normals, centroids = principal_axes(offsets)
    for i, rows in enumerate(index):
        np.testing.assert_allclose(centroids[:, i], cloud[rows].mean(0) - cloud[i], atol=1e-5)
        expected, axes = np.linalg.eigh(np.cov(cloud[rows].T, bias=True))
        np.testing.assert_allclose(values[:, i], expected, rtol=1e-4)
        assert abs(normals[:, i] @ axes[:, 0]) > 1 - 1e-5
