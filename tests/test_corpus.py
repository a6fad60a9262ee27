import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import btp.pretraining.corpus
from btp.data.synthesis import shapes
from btp.data.synthesis.solids import densify, difference, revolve, sample, sweep
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.bars import bore, jointed, jointed_nouns
from btp.pretraining.corpus.detail import DETAILS
from btp.pretraining.corpus.extra_solids import hull, limbs, loft, loop, radial
from btp.pretraining.corpus.families import FAMILIES, draw_family
from btp.pretraining.corpus.items import POINTS, Families
from btp.pretraining.corpus.turned import hollow_outline, stem_level, threaded, turned_nouns
from btp.pretraining.objectives import FAULTY, SOUND

ITEMS = [Families()(7, index) for index in range(40)]


def test_same_seed_and_index_give_the_same_item():
    again, other = Families()(7, 3), Families()(8, 3)
    np.testing.assert_array_equal(again.points, ITEMS[3].points)
    np.testing.assert_array_equal(again.labels, ITEMS[3].labels)
    assert again.captions == ITEMS[3].captions
    assert other.points.shape != again.points.shape


def test_items_are_dense_and_about_unit_size():
    for item in ITEMS:
        assert item.points.dtype == np.float32
        assert item.labels.shape == (len(item.points),)
        assert 0.2 * POINTS[0] < len(item.points) <= 1.6 * POINTS[1]
        assert np.isfinite(item.points).all()
        assert 0.3 < np.linalg.norm(item.points, axis=1).max() < 2


def test_about_half_are_defective_and_the_captions_do_not_say_so():
    bad = [item for item in ITEMS if item.defect]
    assert 0.3 < len(bad) / len(ITEMS) < 0.7
    told = {*SOUND, *FAULTY, "dent", "crack", "scratch", "missing", "chipped"}
    for item in ITEMS:
        assert bool(item.defect) == bool(item.labels.any())
        assert not told & set(" ".join(item.captions).replace(",", "").split())
    assert 0.005 < np.mean([item.labels.mean() for item in bad]) < 0.08


def test_families_that_span_more_are_drawn_more_often():
    rng = np.random.default_rng(0)
    drawn = Counter(draw_family(rng) for _ in range(2000))
    assert drawn.keys() == FAMILIES.keys()
    assert 4.5 < drawn["turned"] / drawn["lump"] < 8
    assert {draw_family(rng, ["lump"]) for _ in range(5)} == {"lump"}


def test_captions_are_short_and_plain():
    captions = [caption for item in ITEMS for caption in item.captions]
    assert len(set(captions)) > 0.8 * len(captions)
    for caption in captions:
        assert 2 <= len(caption.split()) <= 40
        assert caption.isascii()
        assert caption.startswith(("a ", "an "))
        assert "  " not in caption
    tokenize(captions)  # raises if one is longer than the tower's context


def test_a_corpus_can_leave_families_out():
    only = Families(("faceted", "lump"))
    assert {only(0, index).origin for index in range(12)} == {
        "faceted",
        "lump",
    }


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_are_bodies_with_words(family):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shape = FAMILIES[family](rng)
        points, normals = sample(shape.solid, 2000, rng)
        assert np.isfinite(points).all()
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
        assert shape.nouns
        step = 1e-2 * np.ptp(points, axis=0).max()
        inside = shape.solid.contains(points - step * normals)
        outside = ~shape.solid.contains(points + step * normals)
        assert outside.mean() > 0.85  # coarse meshes and thin walls miss a few
        assert inside.mean() > 0.5


@pytest.mark.parametrize(
    ("radii", "noun"),
    [
        ([0.6, 0.2, 0.2, 0.9, 1.0], "goblet"),  # foot, stem, cup
        ([0.8, 1.0, 1.0, 0.3, 0.3], "bottle"),  # body, neck
        ([0.5, 0.9, 1.0, 0.7, 0.8], "vase"),  # belly, wide mouth
        ([0.9, 0.9, 1.0, 1.0, 1.0], "tumbler"),
    ],
)
def test_vessels_are_named_by_their_profile(radii, noun):
    height = 3.0
    outer = np.column_stack([radii, np.linspace(0, height, len(radii))])
    stemmed = stem_level(outer) > 0
    assert stemmed == (noun == "goblet")
    assert turned_nouns(height, outer, True, open_floor=False, stemmed=stemmed)[0] == noun
    assert turned_nouns(height, outer, False, open_floor=False, stemmed=stemmed)[0] != noun


def test_a_squat_vessel_with_a_narrow_mouth_is_a_pot():
    outer = np.column_stack([[0.8, 1.0, 0.9, 0.4], np.linspace(0, 1.2, 4)])
    assert turned_nouns(1.2, outer, True, open_floor=False, stemmed=False)[0] == "pot"


def test_a_cup_is_hollow_and_its_stem_is_not():
    outer = np.array([(0.6, 0), (0.2, 0.6), (0.2, 1.2), (1.0, 1.6), (1.0, 3.0)])
    stem = stem_level(outer)
    assert 1.1 < stem < 1.3
    inner = hollow_outline(outer, 0.08, stem + 0.1)
    solid = revolve(inner)
    level = np.array([0.3, 0.9, 1.2, 2.0, 2.9])
    axis = np.column_stack([0 * level, 0 * level + 1e-6, level])
    np.testing.assert_array_equal(solid.contains(axis), [True, True, True, False, False])
    for x, z in inner[len(outer) + 1 : -1]:  # the wall is as thick all over
        apart = np.hypot(*(densify(outer, 0.01) - (x, z)).T)[: -round(2.99 / 0.01)]
        assert apart.min() > 0.07


def test_a_slot_in_a_head_is_open():
    found = 0
    for seed in range(40):
        shape = threaded(np.random.default_rng(seed))
        if "a slot in its head" in shape.parts:
            found += 1
            points = sample(shape.solid, 4000, np.random.default_rng(0))[0]
            top = points[:, 2].max()
            above = np.array([[0.0, 0.0, top - 0.02], [0.1, 0.0, top - 0.02]])
            assert not shape.solid.contains(above).any()
            assert points[np.hypot(*points[:, :2].T) < 0.2, 2].max() < top - 0.1
    assert found > 5


def test_a_bored_bar_is_open_at_both_ends():
    path = np.column_stack([np.r_[np.linspace(0, 0.02, 3), np.linspace(0.06, 2, 50)]] * 3)
    path *= (1, 0, 0)
    bar = sweep(path, 0.2)
    pipe = difference(bar, bore(path, np.full(len(path), 0.1)))
    ends = np.array([[-0.19, 0, 0], [-0.1, 0, 0], [1.0, 0, 0], [2.1, 0, 0], [2.19, 0, 0]])
    assert bar.contains(ends[1:4]).all()
    assert not pipe.contains(ends).any()
    far = bore(path, np.full(len(path), 0.1)).contains(np.array([[-0.4, 0, 0], [2.4, 0, 0]]))
    assert not far.any()


def test_no_leg_of_a_bent_bar_runs_through_another():
    for seed in range(60):
        path, thick, _ = jointed(np.random.default_rng(seed), 0.15)
        step = np.linalg.norm(np.diff(path, axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(step)])
        apart = np.linalg.norm(path[:, None] - path, axis=2)
        assert apart[np.abs(along[:, None] - along) > 5 * thick].min() > 2 * thick
        assert step.max() < 0.1


@pytest.mark.parametrize(
    ("angles", "straights", "noun"),
    [
        ([1.5], [1, 0.5], "elbow"),
        ([3.0], [2, 0.3], "hook"),
        ([3.1], [1, 1], "hairpin"),
        ([1.5, 1.5], [1, 1, 1], "handle"),
        ([1.5, -1.5], [1, 1, 1], "crank"),  # the other way
    ],
)
def test_bent_bars_are_named_by_their_angle(angles, straights, noun):
    sides = np.where(np.array(angles) < 0, np.pi, 0)
    assert jointed_nouns(np.abs(angles), np.array(straights), True, sides)[0] == noun


@pytest.mark.parametrize("detail", DETAILS, ids=lambda detail: detail.__name__)
def test_details_are_shallow_and_named(detail):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for _ in range(5):
        lift, words = detail(points, points, rng)
        assert lift.shape == (4000,)
        assert np.abs(lift).max() <= 0.07
        assert words


def solids():
    turn = np.linspace(0, 2 * np.pi, 121)[:-1]
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    profile = np.array([(0, 0), (1, 0), (1, 2), (0, 2)])
    # Area of each body by its formula.
    yield "loft", loft(profile, np.ones_like), 2 * np.pi + 4 * np.pi
    yield "radial", radial(lambda d: np.ones(len(d))), 4 * np.pi
    yield "hull", hull(np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1.0)])), 1.5 + 3**0.5 / 2
    ring = np.column_stack([circle, np.zeros(120)])
    yield "loop", loop(ring, 0.2 * circle[::3]), 4 * np.pi**2 * 0.2
    capsule = limbs(np.array([[(0, 0, 0), (0, 0, 2.0)]]), np.array([[0.5, 0.5]]), 0.02)
    yield "limbs", capsule, 2 * np.pi + np.pi


@pytest.mark.parametrize(
    ("solid", "area"), [case[1:] for case in solids()], ids=[case[0] for case in solids()]
)
def test_solids_have_their_area_and_normals_point_outward(solid, area):
    points, normals = solid.draw(2000 / area, np.random.default_rng(0))
    assert len(points) == pytest.approx(2000, rel=0.02)
    deep, high = solid.contains(points - 0.02 * normals), solid.contains(points + 0.02 * normals)
    assert deep.mean() > 0.95  # less near sharp edges
    assert high.mean() < 0.03


def test_no_generator_is_shared_with_the_demo_categories():
    folder = Path(btp.pretraining.corpus.__file__).parent
    paths = sorted(folder.glob("*.py"))
    assert len(paths) > len({function.__module__ for function in FAMILIES.values()})
    for path in paths:
        nodes = ast.walk(ast.parse(path.read_text()))
        imported = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        assert "btp.data.synthesis.shapes" not in imported, path.name
    assert not FAMILIES.keys() & shapes.CATEGORIES.keys()
    assert not set(FAMILIES.values()) & set(shapes.CATEGORIES.values())
