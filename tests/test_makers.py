"""Makers of defects: what they change, what they label, and what they leave alone."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from btp.errors import ConfigError, DataError
from btp.pretraining import makers
from btp.pretraining.makers import kinds
from btp.pretraining.makers.place import bump, cloud_of
from btp.pretraining.makers.tools import Tool, cut

N = 12_000
NEW = [name for name in kinds.ALL if not name.startswith("smooth:")]
ADDING = {"solids:burred", "solids:spattered", "fields:pasted"}
CUTTING = {
    "solids:chipped",
    "solids:drilled",
    "solids:gouged",
    "solids:notched",
    "solids:pitted",
    "solids:slit",
}


def ball(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of radius 2, off the origin."""
    normals = np.random.default_rng(seed).normal(size=(N, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return 2 * normals + (5.0, 0, 0), normals


def height(points: np.ndarray) -> np.ndarray:
    """How far points lie outside of the ball."""
    return np.linalg.norm(points - (5.0, 0, 0), axis=1) - 2


@pytest.mark.parametrize("name", NEW)
def test_what_is_not_labelled_stays_where_it_was(name: str) -> None:
    points, normals = ball()
    rng = np.random.default_rng(1)
    for _ in range(3):
        found, labels = kinds.apply(name, points, normals, rng)
        assert len(found) == len(labels)
        assert kinds.MIN_LABELLED <= labels.sum() <= 0.25 * len(labels)
        moved = cKDTree(points).query(found[~labels])[0]
        # deformations fade out, and what moves little against the deepest point is not labelled
        assert moved.max() < 0.1
        assert np.median(moved) == 0


@pytest.mark.parametrize("name", NEW)
def test_a_defect_does_not_depend_on_the_units(name: str) -> None:
    points, normals = ball()
    one, labels = kinds.apply(name, points, normals, np.random.default_rng(4))
    small, again = kinds.apply(name, points * 1e-3, normals, np.random.default_rng(4))
    assert abs(len(one) - len(small)) <= 2
    assert abs(int(labels.sum()) - int(again.sum())) <= 4
    if len(one) == len(small):
        assert np.median(np.linalg.norm(one - small * 1e3, axis=1)) < 1e-9


@pytest.mark.parametrize("name", sorted(CUTTING))
def test_a_cut_goes_inwards_and_is_lined(name: str) -> None:
    points, normals = ball()
    found, labels = kinds.apply(name, points, normals, np.random.default_rng(2))
    assert height(found).max() < 0.02
    assert height(found[labels]).min() < -0.02
    new = labels & (np.abs(height(found)) > 1e-9)
    assert new.sum() > 5
    # the skin of the tool is as dense as the surface, within a factor
    gap = cKDTree(found).query(found[new], 4)[0][:, 3]
    usual = cKDTree(points).query(points[:500], 4)[0][:, 3]
    assert 0.3 < np.median(gap) / np.median(usual) < 3


@pytest.mark.parametrize("name", ["solids:burred", "solids:spattered"])
def test_what_is_added_stands_out(name: str) -> None:
    points, normals = ball()
    found, labels = kinds.apply(name, points, normals, np.random.default_rng(3))
    assert height(found).min() > -0.02
    assert height(found[labels]).max() > 0.02


def test_a_tool_s_skin_is_even_in_area() -> None:
    rng = np.random.default_rng(0)
    half = np.array([1.0, 0.5, 0.2])
    tool = Tool(np.zeros(3), np.eye(3), half, 20.0, 0.0, np.zeros((3, 1)), np.zeros(1))
    skin = tool.surface(0.01, rng)  # nearly a box of 2 x 1 x 0.4
    np.testing.assert_allclose(tool.level(skin), 1, atol=1e-6)
    face = np.argmax(np.abs(skin) / half, axis=1)
    area = np.array([0.5 * 0.2, 1 * 0.2, 1 * 0.5])
    np.testing.assert_allclose(np.bincount(face) / len(skin), area / area.sum(), atol=0.03)


def test_a_cut_right_through_a_sheet_leaves_a_rim_and_no_floor() -> None:
    rng = np.random.default_rng(0)
    sheet = np.column_stack([rng.uniform(-1, 1, (N, 2)), np.zeros(N)])
    cloud = cloud_of(sheet, np.tile([0.0, 0, 1], (N, 1)))
    tool = Tool(np.zeros(3), np.eye(3), np.full(3, 0.3), 2, 0, np.zeros((3, 1)), np.zeros(1))
    found, labels = cut(cloud, [tool], rng)
    flat = np.abs(found[:, 2]) < 1e-12
    assert np.linalg.norm(found[flat & ~labels], axis=1).min() > 0.3
    assert np.linalg.norm(found[flat & labels], axis=1).max() < 0.36


def test_a_third_of_the_new_kinds_and_a_whole_maker_are_unseen() -> None:
    assert set(kinds.SEEN) | set(kinds.UNSEEN) == set(kinds.ALL)
    assert not set(kinds.SEEN) & set(kinds.UNSEEN)
    assert not [name for name in kinds.SEEN if name.startswith(f"{kinds.UNSEEN_MAKER}:")]
    assert set(kinds.UNSEEN_KINDS) <= set(kinds.ALL)
    assert len(kinds.UNSEEN) >= len(kinds.ALL) / 3


def test_the_makers_share_no_code_with_each_other() -> None:
    folder = Path(makers.__file__).parent
    for name, other in (("fields", "solids"), ("solids", "fields")):
        tree = ast.parse((folder / f"{name}.py").read_text())
        named = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert not [module for module in named if "synthesis" in module or other in module]


def test_a_bump_is_one_in_the_middle_and_ends_at_one() -> None:
    np.testing.assert_array_equal(bump(np.array([0.0, 1.0, 2.0])), [1, 0, 0])


def test_unknown_kinds_and_surfaces_that_show_nothing_are_refused() -> None:
    points, normals = ball()
    with pytest.raises(ConfigError, match="unknown defect 'solids:melted'; expected one of"):
        kinds.apply("solids:melted", points, normals, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"solids:slit: no place .* 40 points shows it"):
        kinds.apply("solids:slit", points[:40], normals[:40], np.random.default_rng(0))
