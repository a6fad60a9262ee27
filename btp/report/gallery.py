"""The pictures and the viewer of a report, made ready from results and runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from btp.data.dataset import Dataset
from btp.evaluation.scoring import CategoryScores, evaluate
from btp.experiments.baselines import BASELINES, score_baseline
from btp.experiments.record import Result
from btp.features.store import FeatureStore
from btp.models.checkpoint import load_detector
from btp.report.evidence import Evidence
from btp.report.examples import Scored
from btp.report.extremes import write_extremes
from btp.report.figures import draw_figures
from btp.report.sections import Section
from btp.report.tables import average


def draw_galleries(
    sections: Iterable[Section],
    dataset: Dataset,
    store: Callable[[int, int], FeatureStore],
    folder: Path,
) -> list[Path]:
    """`draw_gallery` of each recipe, in a folder of its name.

    Args:
        sections: one a recipe.
        dataset: all were scored on.
        store: of their features, by number of points and sampling seed.
        folder: to write into.

    Returns:
        The paths written.
    """
    drawn = []
    for part in sections:
        evidence = part.evidence
        features = store(evidence.n_points, int(evidence.results[0].about["sampling_seed"]))
        drawn += draw_gallery(evidence, dataset, features, folder / evidence.recipe.name)
    return drawn


def draw_gallery(
    evidence: Evidence, dataset: Dataset, store: FeatureStore, folder: Path
) -> list[Path]:
    """Draw a recipe's results; viewer.html holds the best and the worst scan of each category.

    The pictures: Fig. 3 and object scores of the first run, Table 2 as a heat map, curves of all.

    The first run, and the baselines that there are results of, are scored once more for it, as no
    scores are kept.

    Args:
        evidence: results of one recipe; without any of the full recipe nothing is drawn.
        dataset: all were scored on.
        store: of their features.
        folder: to write into.

    Returns:
        The paths written.
    """
    runs = evidence.of(evidence.few) or evidence.of(evidence.categories)
    if not runs:
        return []
    first = runs[0]
    detector = load_detector(Path(first.folder) / "detector.safetensors")[0]
    detector.to(store.model.device)
    ours = _by_category(evaluate(detector, dataset, store, first.train_cat))
    others = {
        BASELINES[name].title: _by_category(_baseline(name, results[0], evidence, dataset, store))
        for name, results in evidence.baselines.items()
    }
    everything = evidence.of(evidence.categories)
    cells = {
        (a, b): average([r for r in everything if r.train_cat == a], "point_auroc", [b]).mean / 100
        for a in evidence.categories
        for b in evidence.categories
    }
    cross = {pair: value for pair, value in cells.items() if not math.isnan(value)}
    curves: dict[str, list[Path]] = {}
    for run in everything:
        path = Path(run.folder)
        if any(path.glob("tensorboard/*")):  # converted weights have none
            curves.setdefault(str(run.train_cat), []).append(path)
    title = f"BTP (ours), trained on {first.train_cat}"
    paths = draw_figures(folder, dataset, ours, others, cross, curves or None, title=title)
    page = write_extremes(folder / "viewer.html", dataset, {title: ours, **others}, title)
    return [*paths, *([page] if page else [])]


def _by_category(scores: Iterable[CategoryScores]) -> dict[str, Scored]:
    return {each.data.category: Scored.of(each) for each in scores}


def _baseline(
    name: str, result: Result, evidence: Evidence, dataset: Dataset, store: FeatureStore
) -> Iterable[CategoryScores]:
    for category in result.categories:
        yield score_baseline(
            name, dataset, store, category, result.train_cat, result.seed, evidence.recipe
        )
