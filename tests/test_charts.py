"""The values behind the pictures: what was picked and averaged; and that something is drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from scored import PAPER, baseline, changed, record
from sklearn.metrics import roc_auc_score
from tiny import CATEGORIES, POINTS, write_tiny_dataset
from torch.utils.tensorboard import SummaryWriter

from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.prepare import normalise, prepare
from btp.drawing.pictures import Panel
from btp.errors import DataError
from btp.experiments.scored_scans import ScoredScans
from btp.report.charts import Matrix, ObjectScores, draw_object_scores
from btp.report.curves import draw_curves, read_curves, read_scalars
from btp.report.evidence import Evidence
from btp.report.gallery import cross_category, draw_gallery, shown_methods
from btp.report.scans import Example, best_and_worst, draw_scans


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_tiny_dataset(tmp_path_factory.mktemp("data")))


def scored(dataset: Dataset, category: str, quality: float = 1.0, seed: int = 0) -> ScoredScans:
    """Scores that follow the labels as far as `quality` says, more so in later scans."""
    rng = np.random.default_rng(seed)
    samples = tuple(dataset.samples(category, "test"))
    prepared = [prepare(dataset.read(sample), POINTS, 0) for sample in samples]
    labels = np.stack([p.labels[p.rows] for p in prepared if p.labels is not None])
    strength = quality * np.arange(1, len(samples) + 1)[:, None] / len(samples)
    values = rng.random(labels.shape) + strength * labels
    return ScoredScans(
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
    picked = best_and_worst(all_scored, each=1)
    assert picked == [Example(*best, "best"), Example(*worst, "worst")]
    three = best_and_worst(all_scored)
    assert [e.remark for e in three] == ["best", "best", "worst"]
    assert sorted(e.category for e in three) == list(CATEGORIES)
    values = [table[e.category, e.row] for e in three]
    assert values == sorted(values, reverse=True)


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


def write_run(folder: Path, steps: range, value: float, term: str = "total") -> Path:
    with SummaryWriter(str(folder / "tensorboard"), purge_step=steps[0]) as board:
        for step in steps:
            board.add_scalar(f"loss/{term}", value + step, step)
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


def test_a_loss_term_without_a_title_is_drawn_all_the_same(tmp_path: Path) -> None:
    for term in ("smoothness", "dice", "contrast"):
        write_run(tmp_path / "seed1", range(2), 0.0, term)
    curves = read_curves([tmp_path / "seed1"])
    assert list(curves) == ["loss/dice", "loss/contrast", "loss/smoothness"]
    axes: list[str] = []
    real = Axes.set_title

    def noting(self: Axes, label: str, *args: Any, **given: Any) -> Any:
        axes.append(label)
        return real(self, label, *args, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "set_title", noting)
        draw_curves({"egg": curves}, tmp_path / "curves.png")
    assert axes == ["dice", "contrast", "smoothness"]


def test_a_resumed_run_s_later_values_count(tmp_path: Path) -> None:
    write_run(tmp_path, range(4), 0.0)
    write_run(tmp_path, range(2, 6), 10.0)
    assert list(read_scalars(tmp_path)["loss/total"].values()) == [0, 1, 12, 13, 14, 15]


def test_a_run_without_curves_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"seed7.*no scalars"):
        read_curves([tmp_path / "seed7"])


def evidence(folder: Path) -> Evidence:
    """Runs of every category, with curves, and two baselines."""
    runs = []
    for number, category in enumerate(CATEGORIES):
        others = {name: 0.5 + 0.1 * len(name) for name in CATEGORIES if name != category}
        path = write_run(folder / category, range(5), number)
        runs.append(changed(record(category, **others), folder=str(path)))
    beside = {name: [baseline(name, egg=0.5)] for name in ("btf", "ulip_zero_shot")}
    return Evidence("set", "mini", PAPER, CATEGORIES, [111], runs, beside)


def test_the_first_run_and_each_baseline_are_drawn_ours_last(tmp_path: Path) -> None:
    given = evidence(tmp_path)
    shown = shown_methods(given)
    assert list(shown) == ["BTF (FPFH)", "ULIP (zero-shot)", "BTP (ours), trained on box"]
    assert shown["BTF (FPFH)"] == given.baselines["btf"][0]
    assert shown["BTP (ours), trained on box"] == given.runs[0]
    assert shown_methods(replace(given, seeds=[5])) == {}
    assert cross_category(given)["egg", "disc"] == pytest.approx(0.9)
    assert ("egg", "egg") not in cross_category(given)


def test_pictures_are_drawn_of_all_that_is_given(dataset: Folder, tmp_path: Path) -> None:
    ours = {name: scored(dataset, name, 2.0) for name in CATEGORIES}
    blind = scored(dataset, "egg")
    blind.point_scores[:] = np.nan
    methods = {
        "Memory": {"egg": scored(dataset, "egg", seed=1)},
        "Objects only": {"egg": blind},
        "Ours": ours,
    }
    given = evidence(tmp_path)
    paths = draw_gallery(tmp_path / "out", given, dataset, methods)
    names = ["scans.png", "object_scores.png", "cross_category.png", "training.png", "viewer.html"]
    assert [path.name for path in paths] == names
    for path in paths[:-1]:
        image = pixels(path)
        assert (image.min(-1) < 0.5).mean() > 0.005, path  # ink
        assert image.std() > 0.05, path
    fewer = replace(given, runs=[])
    again = draw_gallery(tmp_path / "again", fewer, dataset, methods)
    assert [path.name for path in again] == [*names[:2], names[-1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again[:2], strict=False))
    assert draw_gallery(tmp_path / "none", given, dataset, {}) == []


def test_a_row_has_a_column_for_each_method_that_scores_points(
    dataset: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[list[Panel]]] = []
    monkeypatch.setattr("btp.report.scans.draw", lambda rows, *_: drawn.append(list(rows)))
    ours = {name: scored(dataset, name, quality) for name, quality in (("box", 0.1), ("egg", 2.0))}
    blind = scored(dataset, "egg")
    blind.point_scores[:] = np.nan
    memory = {"egg": scored(dataset, "egg", seed=1)}
    methods = {"Memory": memory, "Objects": {"egg": blind}, "Ours": ours}
    assert draw_scans(tmp_path / "scans.png", dataset, methods) == tmp_path / "scans.png"
    best, worst = best_and_worst(ours)
    assert (best.category, worst.category) == ("egg", "box")
    first, second = drawn[0]
    assert [p.title for p in first] == ["input", "ground truth", "Memory", "Ours"]
    assert [p.note for p in second[2:]] == [
        "not scored",
        f"AUROC {100 * ours['box'].point_auroc(worst.row):.1f}",
    ]
    truth = dataset.read(ours["egg"].samples[best.row]).labels
    assert truth is not None
    np.testing.assert_array_equal(first[1].values, truth)
    unit = normalise(first[3].points)[0]
    near = ((unit[:, None] - ours["egg"].points[best.row]) ** 2).sum(-1).argmin(1)
    np.testing.assert_allclose(first[3].values, ours["egg"].shown(best.row)[near])


def test_the_strips_are_of_the_right_auroc() -> None:
    given = ObjectScores(np.array([False, True, True]), np.array([0.2, 0.1, 0.9]))
    assert given.auroc == 0.5


def test_object_scores_are_drawn_normal_on_the_left_and_defective_on_the_right(
    tmp_path: Path,
) -> None:
    few = ObjectScores(np.array([False, True]), np.array([0.2, 0.9]))
    same = ObjectScores(np.array([False, False, True, True]), np.array([0.5, 0.5, 0.1, 0.7]))
    draw_object_scores({"a": few, "b": same}, tmp_path / "objects.png")
    image = pixels(tmp_path / "objects.png")
    blue = (image[..., 2] - image[..., 0]).max(0) > 0.4
    red = (image[..., 0] - image[..., 2]).max(0) > 0.4
    below = slice(int(0.15 * image.shape[1]), None)
    assert np.flatnonzero(blue[below]).min() < np.flatnonzero(red[below]).min()
