"""Closed-form eigenvalues and eigenvectors against LAPACK."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from btp.geometry.eigen import Symmetric, null_vectors, smallest_eigenvectors, spectrum


def positive(seed: int, unit: float, rank: int = 3) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(20, 3, rank))
    return unit * factor @ factor.transpose(0, 2, 1)


def by_entries(matrices: np.ndarray) -> Symmetric:
    return Symmetric(*(matrices[:, i, j] for i in range(3) for j in range(i, 3)))


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1.0, 1e6]), st.sampled_from([1, 2, 3]))
def test_eigenvalues(seed: int, unit: float, rank: int) -> None:
    matrices = positive(seed, unit, rank)
    found = np.stack(spectrum(by_entries(matrices)).values(), 1)
    largest = np.abs(matrices).max()
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrices), atol=1e-7 * largest)


def test_eigenvalues_of_multiples_of_the_identity() -> None:
    matrices = np.eye(3) * np.array([0.0, 1e-200, 2.0])[:, None, None]
    found = np.stack(spectrum(by_entries(matrices)).values(), 1)
    np.testing.assert_allclose(found, np.repeat([[0.0], [1e-200], [2.0]], 3, axis=1), rtol=1e-12)


@given(st.integers(0, 10_000))
def test_null_vectors(seed: int) -> None:
    matrices = positive(seed, 1.0, rank=2)
    found = np.stack(null_vectors(by_entries(matrices)), 1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", matrices, found), 0, atol=1e-7)


def test_a_null_vector_of_rank_one_is_none() -> None:
    assert np.array_equal(np.stack(null_vectors(by_entries(np.ones((2, 3, 3))))), np.zeros((3, 2)))


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1.0, 1e6]))
def test_smallest_eigenvectors(seed: int, unit: float) -> None:
    matrices = positive(seed, unit)
    found = smallest_eigenvectors(matrices)
    expected = np.linalg.eigh(matrices)[1][:, :, 0]
    np.testing.assert_allclose(np.abs((found * expected).sum(axis=1)), 1, atol=1e-6)


def test_smallest_eigenvectors_of_diagonal_matrices() -> None:
    diagonals = [(1, 2, 3), (2, 1, 3), (3, 2, 1), (1, 1, 1), (0, 0, 0), (1, 1, 2)]
    found = smallest_eigenvectors(np.stack([np.diag(np.array(d, float)) for d in diagonals]))
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 1, 2, 2, 2, 2])
