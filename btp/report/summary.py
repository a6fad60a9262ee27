"""From finished runs to results, tables and pictures on disk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import btp
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.store import FeatureStore
from btp.errors import DataError, WeightsError
from btp.evaluation import CategoryScores, evaluate, mean_over_categories
from btp.files import file_digest, write_text
from btp.geometry import nearest_rows
from btp.report.pictures import Panel, draw
from btp.report.tables import category_rows, markdown, to_csv
from btp.runs import Run
from btp.weights.models import load_detector

# Results are averaged only if they agree in all of these.
SETTINGS = ("encoder_fingerprint", "n_points", "sampling_seed", "thresholds", "recipe")


def score_run(
    run: Run,
    dataset: Dataset,
    store: FeatureStore,
    thresholds: int | None = None,
    pictures: int = 6,
    rescore: bool = False,
) -> dict[str, Any]:
    """Score a run on every category it has not seen, and write its result and pictures.

    Args:
        run: finished.
        dataset: the one it was trained on, or another.
        store: of the encoder it was trained with.
        thresholds: of AU-PRO, None for exact.
        pictures: number of scans to draw.
        rescore: also if the stored result already belongs to this detector and these scans.

    Returns:
        The result, as stored.

    Raises:
        DataError: if the run has not finished.
        WeightsError: if its features came from other encoder weights or another sampling.
    """
    if not run.detector_path.is_file():
        raise DataError(f"{run.detector_path}: no such file; expected a finished run's folder")
    detector, encoder, about = load_detector(run.detector_path)
    _check_same_features(run, about, store)
    scored = {
        "detector": file_digest(run.detector_path),
        "scans": dataset.fingerprint(),
        "thresholds": thresholds,
    }
    known = run.result(dataset.name)
    if known and not rescore and all(known[key] == value for key, value in scored.items()):
        return known
    seen = about["train_cat"] if _may_share_scans(about, dataset) else None
    detector.to(store.model.device)
    categories, repeated = {}, {}
    examples: list[list[Panel]] = []
    every = max(1, len(dataset.categories) // max(1, pictures))
    for number, scores in enumerate(evaluate(detector, dataset, store, seen)):
        category = scores.data.category
        categories[category] = scores.measure(thresholds)
        repeated[category] = int(scores.data.repeated.sum())
        if number % every == 0 and len(examples) < pictures:
            examples += _example(scores, dataset)
    result = about | {
        "btp": btp.__version__,
        "torch": torch.__version__,
        "encoder": asdict(encoder),
        "recipe": asdict(detector.recipe),
        "test_dataset": dataset.name,
        "test_problems": dataset.problems(),
        "repeated": {category: count for category, count in repeated.items() if count},
        **scored,
        "categories": categories,
        "mean": {k: mean for k, (mean, _) in mean_over_categories([*categories.values()]).items()},
    }
    run.write_result(dataset.name, result)
    if examples:
        draw(examples, run.pictures_path(dataset.name), _caption(result))
    return result


def _check_same_features(run: Run, about: dict[str, Any], store: FeatureStore) -> None:
    here = {
        "encoder_fingerprint": store.model.fingerprint,
        "n_points": store.n_points,
        "sampling_seed": store.seed,
    }
    for name, value in here.items():
        if about[name] != value:
            raise WeightsError(
                f"{run.detector_path}: was trained on features with {name} {about[name]}, and the "
                f"encoder {store.model.config.name} here has {value}; choose the encoder and "
                "settings that it was trained with, or train again"
            )


def _may_share_scans(about: dict[str, Any], dataset: Dataset) -> bool:
    """Whether a category of the train category's name may hold the scans that were trained on.

    Two different benchmarks do not; of a user's folder nobody knows.
    """
    trained_on = about["dataset"]["name"]
    return trained_on in (dataset.name, "folder") or isinstance(dataset, Folder)


def summarise(results: Sequence[dict[str, Any]], folder: Path) -> tuple[str, list[Path]]:
    """Write results on one dataset as JSON lines and tables.

    Args:
        results: of `score_run`.
        folder: for results.jsonl, table.md and table.csv.

    Returns:
        The tables as Markdown, and the paths of everything written.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[json.dumps([result[key] for key in SETTINGS])].append(result)
    tables = [(_title(group), group, category_rows(group)) for _, group in sorted(groups.items())]
    text = "\n".join(
        f"### {title}\n\nTrained on {', '.join(sorted({r['train_cat'] for r in group}))}; "
        f"{len(group)} runs.\n\n{markdown(rows, 'unseen category, %', group[0]['recipe']['pro'])}"
        for title, group, rows in tables
    )
    files = {
        folder / "results.jsonl": "".join(json.dumps(result) + "\n" for result in results),
        folder / "table.md": text,
        folder / "table.csv": to_csv([(title, rows) for title, _, rows in tables]),
    }
    for path, content in files.items():
        write_text(path, content)
    return text, list(files)


def _title(group: Sequence[dict[str, Any]]) -> str:
    first = group[0]
    untrained = "" if first["encoder_trained"] else " (encoder: untrained)"
    points = "" if first["n_points"] == 2048 else f", {first['n_points']} points"
    thresholds = f", {first['thresholds']} thresholds" if first["thresholds"] else ""
    recipe = first["recipe"]["name"]
    where = f"{first['test_dataset']}, {first['encoder']['name']}{untrained}"
    return f"{where}, recipe {recipe}{points}{thresholds}"


def _caption(result: dict[str, Any]) -> str:
    return f"unseen categories; trained on {result['train_cat']}, {_title([result])}"


def _example(scores: CategoryScores, dataset: Dataset) -> list[list[Panel]]:
    """Shape, ground truth and scores of one defective scan; none if there is none.

    The scan of the median object score among the category's defective ones is shown: neither the
    best nor the worst.
    """
    data = scores.data
    defective = np.flatnonzero(data.is_anomalous.numpy())
    if not len(defective):
        return []
    by_score = defective[np.argsort(scores.object_scores[defective])]
    chosen = int(by_score[len(by_score) // 2])
    cloud = dataset.read(data.samples[chosen])
    points = cloud.points - cloud.points.mean(0)
    unit = points / np.linalg.norm(points, axis=1).max()
    nearest = nearest_rows(unit, data.features.points[chosen].numpy())
    values = scores.point_scores[chosen][nearest]
    highest = max(float(values.max()), 1e-6)
    labels = np.zeros(len(points)) if cloud.labels is None else cloud.labels.astype(float)
    return [
        [
            Panel(f"{data.category}: {cloud.name}", points),
            Panel("ground truth", points, labels),
            Panel(f"score / {highest:.2f}", points, values / highest),
        ]
    ]
