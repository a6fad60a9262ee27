"""The values behind the pictures: what was picked and averaged; and that something is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tiny import CATEGORIES, POINTS, write_tiny_dataset
from torch.utils.tensorboard import SummaryWriter

from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.prepare import normalise, prepare
from btp.drawing.pictures import Panel
from btp.errors import DataError
from btp.report.charts import Matrix, ObjectScores
from btp.report.curves import read_curves, read_scalars
from btp.report.examples import Example, Scored, best_and_worst, by_name
from btp.report.figures import draw_figures


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_tiny_dataset(tmp_path_factory.mktemp("data")))


def scored(dataset: Dataset, category: str, quality: float = 1.0, seed: int = 0) -> Scored:
    """Scores that follow the labels as far as `quality` says, more so in later scans."""
    rng = np.random.default_rng(seed)
    samples = tuple(dataset.samples(category, "test"))
    prepared = [prepare(dataset.read(sample), POINTS, 0) for sample in samples]
    labels = np.stack([p.labels[p.rows] for p in prepared if p.labels is not None])
    strength = quality * np.arange(1, len(samples) + 1)[:, None] / len(samples)
    values = rng.random(labels.shape) + strength * labels
    return Scored(
        samples=samples,
        points=np.stack([p.points for p in prepared]),
        labels=labels,
        object_scores=values.max(1).astype(np.float32),
        point_scores=values.astype(np.float32),
    )


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(path)[..., :3])


def test_a_scan_s_auroc_is_sklearn_s(dataset: Folder) -> None:
    egg = scored(dataset, "egg")
    expected = roc_auc_score(egg.labels[3], egg.point_scores[3])
    assert egg.point_auroc(3) == pytest.approx(expected)
    assert math.isnan(egg.point_auroc(0))  # a normal scan
    assert egg.anomalous.tolist() == [False, False, True, True, True]


def test_best_and_worst_are_of_different_categories(dataset: Folder) -> None:
    quality = {"box": 0.1, "disc": 0.4, "egg": 0.7}
    all_scored = {name: scored(dataset, name, q) for name, q in quality.items()}
    table = {
        (name, row): all_scored[name].point_auroc(row) for name in CATEGORIES for row in (2, 3, 4)
    }
    best, *_, worst = sorted(table, key=lambda key: table[key], reverse=True)
    picked = best_and_worst(all_scored, best=1, worst=1)
    assert picked == [Example(*best, "best"), Example(*worst, "worst")]
    three = best_and_worst(all_scored, best=2, worst=2)
    assert [e.remark for e in three] == ["best", "best", "worst"]
    assert sorted(e.category for e in three) == list(CATEGORIES)
    values = [table[e.category, e.row] for e in three]
    assert values == sorted(values, reverse=True)


def test_scans_by_name(dataset: Folder) -> None:
    all_scored = {"egg": scored(dataset, "egg")}
    assert by_name(all_scored, ["egg/egg_sink1"]) == [Example("egg", 3)]
    with pytest.raises(DataError, match=r"egg/nothing: not among .* egg_positive0"):
        by_name(all_scored, ["egg/nothing"])
    with pytest.raises(DataError, match=r"car/car_1: .* one of egg"):
        by_name(all_scored, ["car/car_1"])


def test_shown_scores_span_the_category_s_range(dataset: Folder) -> None:
    egg = scored(dataset, "egg")
    shown = np.stack([egg.shown(row) for row in range(5)])
    low, high = egg.point_scores.min(), np.quantile(egg.point_scores, 0.999)
    expected = np.clip((egg.point_scores - low) / (high - low), 0, 1)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_the_matrix_is_sorted_and_leaves_out_the_diagonal() -> None:
    cross = {("b", "a"): 0.6, ("a", "b"): 0.8, ("a", "c"): 0.7, ("b", "b"): 1.0}
    matrix = Matrix.of(cross)
    assert (matrix.rows, matrix.columns) == (("a", "b"), ("a", "b", "c"))
    np.testing.assert_array_equal(matrix.values, [[np.nan, 0.8, 0.7], [0.6, np.nan, np.nan]])
    assert matrix.row_means[0] == pytest.approx(0.75)
    assert math.isnan(matrix.row_means[1])  # c is missing: no mean that hides it


def write_run(folder: Path, steps: range, value: float) -> Path:
    with SummaryWriter(str(folder / "tensorboard"), purge_step=steps[0]) as board:
        for step in steps:
            board.add_scalar("loss/total", value + step, step)
            board.add_scalar("learning_rate", 0.1, step)
    return folder


def test_curves_are_read_back_and_averaged(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed{i}", range(4), i) for i in (0, 1)]
    curves = read_curves(runs)
    assert list(curves) == ["loss/total"]
    total = curves["loss/total"]
    assert total.epochs.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(total.mean, [0.5, 1.5, 2.5, 3.5])
    low, high = total.band
    np.testing.assert_allclose([low, high], [[0, 1, 2, 3], [1, 2, 3, 4]])


def test_a_resumed_run_s_later_values_count(tmp_path: Path) -> None:
    write_run(tmp_path, range(4), 0.0)
    write_run(tmp_path, range(2, 6), 10.0)
    assert list(read_scalars(tmp_path)["loss/total"].values()) == [0, 1, 12, 13, 14, 15]


def test_a_run_without_curves_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"seed7.*no scalars"):
        read_curves([tmp_path / "seed7"])


def test_figures_are_drawn_of_all_that_is_given(dataset: Folder, tmp_path: Path) -> None:
    ours = {name: scored(dataset, name, 2.0) for name in CATEGORIES}
    blind = scored(dataset, "egg")
    blind.point_scores[:] = np.nan
    others = {"Memory": {"egg": scored(dataset, "egg", seed=1)}, "Objects only": {"egg": blind}}
    cross = {(a, b): 0.5 + 0.1 * len(b) for a in CATEGORIES for b in CATEGORIES if a != b}
    runs = {"egg": [write_run(tmp_path / f"run{i}", range(5), i) for i in range(2)]}
    chosen = ["egg/egg_sink0"]
    paths = draw_figures(tmp_path / "out", dataset, ours, others, cross, runs, chosen=chosen)
    names = ["scans.png", "object_scores.png", "cross_category.png", "training.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        image = pixels(path)
        assert (image.min(-1) < 0.5).mean() > 0.005, path  # ink
        assert image.std() > 0.05, path
    again = draw_figures(tmp_path / "again", dataset, ours, others, chosen=chosen)
    assert [path.name for path in again] == names[:2]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again, strict=False))
    assert np.median(pixels(paths[2])[:10]) > 0.9  # on white


def test_a_row_has_a_column_for_each_method_that_scores_points(
    dataset: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[list[Panel]]] = []
    monkeypatch.setattr("btp.report.figures.draw", lambda rows, *_: drawn.append(list(rows)))
    ours = {name: scored(dataset, name) for name in ("box", "egg")}
    blind = scored(dataset, "egg")
    blind.point_scores[:] = np.nan
    others = {"Memory": {"egg": scored(dataset, "egg", seed=1)}, "Objects": {"egg": blind}}
    chosen = ["egg/egg_sink0", "box/box_sink1"]
    draw_figures(tmp_path, dataset, ours, others, chosen=chosen, title="Ours")
    first, second = drawn[0]
    assert [p.title for p in first] == ["input", "ground truth", "Memory", "Ours"]
    assert [p.note for p in second[2:]] == [
        "not scored",
        f"AUROC {100 * ours['box'].point_auroc(3):.1f}",
    ]
    truth = dataset.read(ours["egg"].samples[2]).labels
    assert truth is not None
    np.testing.assert_array_equal(first[1].values, truth)
    unit = normalise(first[3].points)[0]
    near = ((unit[:, None] - ours["egg"].points[2]) ** 2).sum(-1).argmin(1)
    np.testing.assert_allclose(first[3].values, ours["egg"].shown(2)[near])


def test_the_strips_are_of_the_right_auroc() -> None:
    given = ObjectScores(np.array([False, True, True]), np.array([0.2, 0.1, 0.9]))
    assert given.auroc == 0.5
