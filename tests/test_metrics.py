"""Metrics against values worked out by hand, scikit-learn, slow twins and recorded numbers.

`golden/metrics.npz`: scores of 8 clouds and the metrics that the authors' released code computes
from them.
"""

import doctest
import importlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from btp.errors import ConfigError, DataError
from btp.metrics import (
    aupro,
    aupro_from_counts,
    aupro_from_regions,
    count_points,
    coverage_auc,
    object_metrics,
    point_metrics,
    point_metrics_from_counts,
    ranking,
    regions,
)

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "metrics.npz") as recorded:
        return dict(recorded)


def random_cloud(rng, size, distinct):
    """Labels with at least one of each kind, and scores with at most `distinct` values."""
    labels = rng.random(size) < rng.uniform(0.1, 0.9)
    labels[:2] = [False, True]
    return labels, rng.choice(rng.standard_normal(distinct), size)


def random_regions(rng, sizes, distinct):
    """Region ids (0 in every cloud, 1 in the first) and tied float32 scores of ragged clouds."""
    ids = [rng.integers(0, 4, size) for size in sizes]
    ids[0][:2] = [0, 1]
    values = rng.random(distinct, dtype=np.float32)
    return ids, [rng.choice(values, size) for size in sizes]


# AUROC, AP, F1


def test_object_metrics_by_hand():
    # By falling score: 1, 0, 1+0 (tied), 0.
    # AUROC, over 2 x 3 pairs: the first wins 3; the tied one wins 1 and halves 1: 4.5 / 6.
    # AP: 1/2 at precision 1/1, then 1/2 at precision 2/4. F1: 2/3, then 2·2 / (2 + 4).
    result = object_metrics([0, 1, 0, 1, 0], [0.8, 0.9, 0.5, 0.5, 0.1])
    assert result == pytest.approx({"auroc": 0.75, "ap": 0.75, "f1max": 2 / 3})


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 60), st.integers(1, 30))
def test_parity_with_sklearn(seed, size, distinct):
    labels, scores = random_cloud(np.random.default_rng(seed), size, distinct)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    expected = {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "f1max": f1.max(),
    }
    assert object_metrics(labels, scores) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 30))
def test_counted_point_metrics_are_sklearns_weighted_ones(seed, size):
    rng = np.random.default_rng(seed)
    raw = 5 * size
    nearest = rng.integers(0, size, raw)
    labels, scores = random_cloud(rng, raw, 2)[0], rng.choice(rng.random(5), size)
    counts = count_points(nearest, labels.astype(np.int32), size)
    truth, values = np.repeat([0, 1], size), np.tile(scores, 2)
    weights = np.concatenate([counts.normal, counts.anomalous])
    expected = {
        "auroc": roc_auc_score(truth, values, sample_weight=weights),
        "ap": average_precision_score(truth, values, sample_weight=weights),
    }
    assert point_metrics_from_counts([counts], [scores]) == pytest.approx(expected, abs=1e-12)


def test_point_metrics_pool_ragged_clouds():
    rng = np.random.default_rng(0)
    clouds = [random_cloud(rng, size, 8) for size in (5, 2, 9)]
    labels, scores = zip(*clouds, strict=True)
    pooled = point_metrics(np.concatenate(labels), np.concatenate(scores))
    assert point_metrics(list(labels), list(scores)) == pooled
    assert pooled["auroc"] == pytest.approx(
        roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    )


def test_scores_of_the_caller_are_not_changed():
    labels, scores = [np.zeros(3, bool), np.array([True, False])], [np.array([3.0, 1, 2])]
    scores.append(np.array([2.0, 1]))
    before = [s.copy() for s in scores]
    point_metrics(labels, scores)
    aupro_from_regions([y.astype(int) for y in labels], scores)
    for now, then in zip(scores, before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_alone_is_nan(label):
    labels, scores = np.full(4, label), np.arange(4.0)
    assert np.isnan(list(object_metrics(labels, scores).values())).all()
    assert np.isnan(list(point_metrics([labels], [scores]).values())).all()
    counts = count_points(np.arange(4), labels, 4)
    assert np.isnan(list(point_metrics_from_counts([counts], [scores]).values())).all()
    assert np.isnan(aupro_from_regions([labels], [scores]))
    assert np.isnan(aupro_from_regions([labels], [scores], thresholds=200))
    assert np.isnan(aupro_from_counts([counts], [scores]))


# Regions


def regions_by_union(points, labels):
    """Naive twin: join every pair of anomalous points in reach."""
    rows = np.flatnonzero(labels)
    apart = np.linalg.norm(points[rows, None].astype(float) - points[None, rows], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1:7]
    parent = list(range(len(rows)))

    def root(i):
        return i if parent[i] == i else root(parent[i])

    for i in range(len(rows)):
        for j in range(i):
            if apart[i, j] <= 2.5 * np.median(nearest):
                parent[root(i)] = root(j)
    roots = [root(i) for i in range(len(rows))]
    ids = np.zeros(len(points), int)
    ids[rows] = [list(dict.fromkeys(roots)).index(r) + 1 for r in roots]
    return ids


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(8, 50))
def test_regions_match_union_of_pairs(seed, size):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-20, 20, (4, 3))
    points = (centres[rng.integers(0, 4, size)] + rng.standard_normal((size, 3))).astype(np.float32)
    labels = rng.random(size) < 0.7
    labels[:2] = True
    ids = regions(points, labels)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, regions_by_union(points, labels))


def test_regions_by_hand():
    # Two runs of 7 points, 1 apart. In a run each point's 6 neighbours are the others: 12 distances
    # of 1, 10 of 2, 8 of 3, 6 of 4, 4 of 5, 2 of 6; the median is 2, so the reach is exactly 5.
    x = np.arange(7.0)
    for gap, count in ((5, 1), (5.01, 2)):
        points = np.zeros((15, 3))
        points[:14, 0] = np.concatenate([x, x + 6 + gap])
        ids = regions(points, np.arange(15) < 14)
        assert ids[14] == 0
        assert ids[:7].tolist() == [1] * 7
        assert ids[7:14].tolist() == [count] * 7


def test_regions_of_few_or_equal_points():
    points = np.zeros((9, 3))
    points[8] = [5, 0, 0]
    none, one, same = np.zeros(9, bool), np.arange(9) == 3, np.arange(9) < 8
    assert regions(points, none).tolist() == [0] * 9
    assert regions(points, one).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert regions(points, same).tolist() == [1] * 8 + [0]
    # Eight on one spot and one at distance 5: median 0, so the positive distances (5) count.
    assert regions(points, ~none).tolist() == [1] * 9


# AU-PRO


def aupro_by_thresholds(region_ids, scores, limit):
    """Naive twin: the whole curve, threshold by threshold and region by region."""
    every, normal = np.concatenate(scores), np.concatenate(region_ids) == 0
    found = [
        s[ids == i]
        for ids, s in zip(region_ids, scores, strict=True)
        for i in np.unique(ids[ids > 0])
    ]
    x, y = [0.0], [0.0]
    for threshold in np.unique(every)[::-1]:
        x.append((every[normal] >= threshold).mean())
        y.append(np.mean([(region >= threshold).mean() for region in found]))
    area = 0.0
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + np.interp(end, [x0, x1], [y0, y1])) / 2
    return area / limit


@settings(max_examples=60, deadline=None)
@given(
    SEEDS,
    st.lists(st.integers(2, 30), min_size=1, max_size=4),
    st.integers(1, 20),
    st.sampled_from([0.05, 0.3, 0.5, 1.0]),
)
def test_aupro_matches_every_threshold(seed, sizes, distinct, limit):
    ids, scores = random_regions(np.random.default_rng(seed), sizes, distinct)
    expected = aupro_by_thresholds(ids, scores, limit)
    assert aupro_from_regions(ids, scores, limit) == pytest.approx(expected, abs=1e-12)


def test_aupro_by_hand():
    # Normal points at 0.8, 0.4, 0.3, 0.2. Region 1: 0.9, 0.5; region 2: 0.7.
    # Curve (FPR, overlap) by falling threshold: 0.9 (0, 1/4); 0.8 (1/4, 1/4); 0.7 (1/4, 3/4);
    # 0.5 (1/4, 1); then flat. Area to 0.5: 1/4 · 1/4 + 1/4 · 1 = 0.3125; over 0.5: 0.625.
    ids, scores = [[0, 1, 1, 0], [2, 0, 0]], [[0.8, 0.9, 0.5, 0.4], [0.7, 0.3, 0.2]]
    assert aupro_from_regions(ids, scores, fpr_limit=0.5) == pytest.approx(0.625)
    # The limit falls on the flat piece before the step: 1/5 · 1/4 over 1/5.
    assert aupro_from_regions(ids, scores, fpr_limit=0.2) == pytest.approx(0.25)


def test_aupro_interpolates_a_tie_across_the_limit():
    # One score for all: a straight line from (0, 0) to (1, 1), area 0.3² / 2 over 0.3.
    ids, scores = [[0, 0, 1]], [[0.5, 0.5, 0.5]]
    assert aupro_from_regions(ids, scores) == pytest.approx(0.15)
    assert aupro_from_regions(ids, scores, thresholds=200) == pytest.approx(0.15)


def test_one_region_to_the_end_is_auroc():
    labels, scores = random_cloud(np.random.default_rng(1), 200, 50)
    area = aupro_from_regions([labels.astype(int)], [scores], fpr_limit=1.0)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_small_and_large_regions_weigh_the_same():
    # All 8 points of region 1 lie above every normal point, the one of region 2 below.
    ids = [[1] * 8 + [2, 0, 0, 0]]
    scores = [[0.9] * 8 + [0.1, 0.5, 0.5, 0.5]]
    assert aupro_from_regions(ids, scores) == pytest.approx(0.5)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.lists(st.integers(2, 40), min_size=1, max_size=3))
def test_counted_path_equals_expanded_path(seed, sizes):
    rng = np.random.default_rng(seed)
    ids = random_regions(rng, [7 * size for size in sizes], 3)[0]
    scores = [rng.choice(rng.random(9, dtype=np.float32), size) for size in sizes]
    nearest = [rng.integers(0, size, 7 * size) for size in sizes]
    counts = [count_points(*c) for c in zip(nearest, ids, sizes, strict=True)]
    raw = [s[rows] for s, rows in zip(scores, nearest, strict=True)]
    for thresholds in (None, 200):
        assert aupro_from_counts(counts, scores, thresholds=thresholds) == pytest.approx(
            aupro_from_regions(ids, raw, thresholds=thresholds), abs=1e-12
        )
    assert point_metrics_from_counts(counts, scores) == pytest.approx(
        point_metrics([i > 0 for i in ids], raw), abs=1e-12
    )


# Coverage AUC


def test_coverage_auc_by_hand():
    # 4 points, the anomalous one second: nothing is covered at 1/4, all at 2/4. Between these the
    # curve rises linearly, so the area is 1/8 + 1/2, but for the grid of 100 shares; the cloud
    # without an anomalous point does not count.
    labels, scores = [[0, 1, 0, 0], [0, 0]], [[0.9, 0.8, 0.2, 0.1], [0.5, 0.4]]
    assert coverage_auc(labels, scores) == pytest.approx(0.625, abs=1e-4)


def test_coverage_auc_does_not_depend_on_the_order_of_ties():
    labels = np.arange(1000) < 30
    shuffled = np.random.default_rng(0).permutation(labels)
    scores = np.zeros(1000)
    assert coverage_auc([labels], [scores]) == pytest.approx(0.5, abs=1e-4)
    assert coverage_auc([shuffled], [scores]) == coverage_auc([labels], [scores])
    assert np.isnan(coverage_auc([np.zeros(3, bool)], [np.arange(3.0)]))


# Recorded numbers


def test_recorded_object_and_point_metrics(golden):
    objects = object_metrics(golden["object_labels"], golden["object_scores"])
    points = point_metrics(golden["labels"], golden["scores"])
    assert objects["auroc"] == pytest.approx(golden["o_auroc"], abs=1e-9)
    assert objects["ap"] == pytest.approx(golden["o_ap"], abs=1e-9)
    assert objects["f1max"] == pytest.approx(golden["o_f1max"], abs=1e-9)
    assert points["auroc"] == pytest.approx(golden["p_auroc"], abs=1e-9)
    assert points["ap"] == pytest.approx(golden["p_ap"], abs=1e-9)
    coverage = coverage_auc(golden["labels"], golden["scores"])
    assert coverage == pytest.approx(golden["coverage_auc_paper"], abs=1e-9)


def test_recorded_regions_and_aupro(golden):
    clouds = golden["points"], golden["labels"]
    found = [regions(p, y).max() for p, y in zip(*clouds, strict=True)]
    assert found == golden["regions_per_cloud"].tolist()
    coarse = aupro(*clouds, golden["scores"], thresholds=200)
    fine = aupro(*clouds, golden["scores"], thresholds=20_000)
    assert coarse == pytest.approx(golden["aupro_standard_200_thresholds"], abs=1e-9)
    assert fine == pytest.approx(golden["aupro_standard_fine_thresholds"], abs=1e-9)
    assert aupro(*clouds, golden["scores"]) == pytest.approx(fine, abs=1e-4)


# Bad input

CLOUD = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: object_metrics([0, 1], [0.1]), r"scores have the shape \(1,\); expected \(2,\)"),
        (lambda: object_metrics([], []), r"labels have the shape \(0,\)"),
        (lambda: object_metrics([0, 2], [0.1, 0.2]), r"labels hold \[0 2\]; expected only 0"),
        (lambda: object_metrics([0, np.nan], [0.1, 0.2]), r"labels hold \[ 0. nan\]"),
        (lambda: point_metrics([[0, 1], [0]], [[0, 1], [np.nan]]), "cloud 1: 1 of 1 scores are"),
        (lambda: point_metrics([[0, 1]], [[0, 1], [0]]), "lists for 1 and 2 clouds"),
        (lambda: point_metrics([], []), "lists for 0 and 0 clouds; expected .* at least 1"),
        (lambda: coverage_auc([[0, 1]], [[0, np.inf]]), "cloud 0: 1 of 2 scores are NaN or inf"),
        (lambda: regions(CLOUD, [0, 1]), r"points have the shape \(3, 3\); expected \(2, 3\)"),
        (lambda: regions(CLOUD * np.nan, [0, 1, 1], "cup0_1"), "cup0_1: 3 of 3 points are NaN"),
        (lambda: aupro([CLOUD], [[0, 1, 1]], [[0, 1]]), r"cloud 0: scores .* \(2,\)"),
        (lambda: aupro([CLOUD], [[0, 1, 1]], []), "lists for 1 and 1 and 0 clouds"),
        (lambda: aupro_from_regions([[0, -1]], [[0, 1]]), "one is negative; expected"),
        (lambda: aupro_from_regions([[0.0, 1.0]], [[0, 1]]), "type float64.* expected"),
        (lambda: count_points([0, 1], [0, 1, 1], 2), r"nearest has the shape \(2,\)"),
        (lambda: count_points([0, 5], [0, 1], 2), "rows 0 to 5; expected 0 to 1"),
        (lambda: aupro_from_counts([count_points([0, 1], [0, 1], 2)], [[0.5]]), "cloud 0: scores"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"fpr_limit": 0.0}, "fpr_limit is 0.0; expected"),
        ({"fpr_limit": 30}, "fpr_limit is 30; expected a share"),
        ({"thresholds": 1}, "thresholds is 1; expected 2 or more"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ConfigError, match=message):
        aupro_from_regions([[0, 1]], [[0.1, 0.2]], **setting)


@pytest.mark.parametrize("name", ["detection", "ground_truth", "localization"])
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"btp.metrics.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


# Memory and blocks


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing(block, monkeypatch):
    rng = np.random.default_rng(block)
    ids, scores = random_regions(rng, [40, 3, 25, 60], 15)
    labels = [i > 0 for i in ids]
    nearest = [np.arange(len(i)) % 5 for i in ids]
    counts = [count_points(n, i, 5) for n, i in zip(nearest, ids, strict=True)]
    few = [s[:5] if len(s) >= 5 else np.resize(s, 5) for s in scores]

    def figures():
        return [
            *point_metrics(labels, scores).values(),
            *point_metrics_from_counts(counts, few).values(),
            aupro_from_regions(ids, scores),
            aupro_from_regions(ids, scores, thresholds=20),
            aupro_from_counts(counts, few),
            aupro_from_counts(counts, few, thresholds=20),
        ]

    whole = figures()
    monkeypatch.setattr(ranking, "BLOCK", block)
    assert figures() == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("sampled", [1, 64])
@pytest.mark.parametrize("sure", [2.0, -4.0])  # a guess that is right, and one that is too high
@pytest.mark.parametrize("limit", [0.05, 0.3, 0.99, 1.0])
def test_scores_beyond_the_limit_need_no_sorting(sampled, sure, limit, monkeypatch):
    monkeypatch.setattr(ranking, "SAMPLED", sampled)
    monkeypatch.setattr(ranking, "SURE", sure)
    rng = np.random.default_rng(3)
    ids, scores = random_regions(rng, [900, 400, 2000], 40)
    for values in (scores, [s.astype(np.float32) for s in scores], [s // 0.25 for s in scores]):
        found = aupro_from_regions(ids, values, limit)
        with monkeypatch.context() as patched:
            patched.setattr(ranking.ScoreStream, "floor", lambda *_: -np.inf)
            assert found == pytest.approx(aupro_from_regions(ids, values, limit), abs=1e-12)


@pytest.mark.parametrize("bias", [None, -0.7, 0.0, 0.7])
def test_the_floor_leaves_little_above_the_share(bias):
    rng = np.random.default_rng(4)
    values = rng.normal(size=(20, 2048)).astype(np.float32)
    weights = values < 9 if bias is None else rng.poisson(12 * np.exp(bias * values))
    counted = ranking.ScoreStream(lambda: zip(values, weights, strict=True))
    assert 0.3 <= weights[values > counted.floor(0.3)].sum() / weights.sum() < 0.4


@given(share=st.floats(0.01, 1.0), n=st.integers(1, 300), kinds=st.integers(1, 20))
def test_enough_lies_above_the_floor(share, n, kinds):
    rng = np.random.default_rng(n)
    values, weights = rng.integers(kinds, size=n) / kinds, rng.integers(3, size=n)
    counted = ranking.ScoreStream(lambda: [(values, weights)])
    floor = counted.floor(share)
    assert weights[values > floor].sum() >= share * weights.sum()


def test_scores_are_never_all_copied(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK", 1 << 16)
    rng = np.random.default_rng(0)
    scores = [rng.random(50_000, dtype=np.float32) for _ in range(40)]  # 8 MB
    labels = [np.arange(50_000) < 500 for _ in scores]
    points = [rng.random((50_000, 3), dtype=np.float32)] * len(scores)
    aupro(points[:1], labels[:1], scores[:1])  # imports
    whole = sum(each.nbytes for each in scores)
    for compute in (lambda: aupro(points, labels, scores), lambda: point_metrics(labels, scores)):
        tracemalloc.start()
        compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.4 * whole  # sorted in one piece: more than once
