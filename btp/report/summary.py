"""From finished runs to results, tables and pictures on disk."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import btp
from btp.data.dataset import Dataset
from btp.data.store import FeatureStore
from btp.errors import WeightsError
from btp.evaluation import CategoryScores, evaluate, mean_over_categories
from btp.files import write_text
from btp.geometry import nearest_rows
from btp.report.pictures import Panel, draw
from btp.report.tables import category_rows, markdown, to_csv
from btp.runs import Run
from btp.weights.models import load_detector


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
        dataset: the one it was trained on, or another: then no category is left out by name.
        store: of the encoder it was trained with.
        thresholds: of AU-PRO, None for exact.
        pictures: number of scans to draw.
        rescore: also if the stored result already belongs to this detector.

    Returns:
        The result, as stored.

    Raises:
        WeightsError: if the run's features came from other encoder weights or another sampling.
    """
    digest = hashlib.blake2b(run.detector_path.read_bytes(), digest_size=8).hexdigest()
    scored_before = {
        "detector": digest,
        "test_data": dataset.fingerprint(),
        "thresholds": thresholds,
    }
    known = run.result(dataset.name)
    if known and not rescore and all(known[k] == value for k, value in scored_before.items()):
        return known
    detector, _, about = load_detector(run.detector_path)
    _check_same_features(run, about, store)
    surface = detector.recipe.gfcm_input == "surface"
    same = about["dataset"]["name"] in (dataset.name, "folder")
    train_cat = about["train_cat"] if same else None
    unseen = [category for category in dataset.categories if category != train_cat]
    sets = (store.load(dataset, category, "test", surface=surface) for category in unseen)
    detector.to(store.model.device)
    categories, scored = {}, []
    for scores, values in evaluate(detector, sets, train_cat, store.model.device):
        categories[scores.data.category] = values
        scored.append(scores)
    result = about | {
        "btp": btp.__version__,
        "test_dataset": dataset.name,
        "encoder": store.model.config.name,
        "recipe": detector.recipe.name,
        **scored_before,
        "categories": categories,
        "mean": {k: mean for k, (mean, _) in mean_over_categories([*categories.values()]).items()},
    }
    run.write_result(dataset.name, result)
    if pictures:
        _draw_examples(scored, dataset, run.pictures_path(dataset.name), pictures, result)
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


def summarise(runs: Sequence[Run], dataset: str, folder: Path) -> tuple[str, list[Path]]:
    """Write all results on a dataset as JSON lines and tables.

    Args:
        runs: scored.
        dataset: name of the one they were scored on.
        folder: for results.jsonl, table.md and table.csv.

    Returns:
        The tables as Markdown, and the paths of everything written.
    """
    results = [result for run in runs if (result := run.result(dataset))]
    by_recipe: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_recipe[result["recipe"]].append(result)
    texts: list[str] = []
    sheets: list[str] = []
    for recipe, group in sorted(by_recipe.items()):
        rows = category_rows(group)
        trained = "" if all(r["encoder_trained"] for r in group) else " (encoder: untrained)"
        title = f"{group[0]['test_dataset']}, {group[0]['encoder']}{trained}, recipe {recipe}"
        cats = sorted({r["train_cat"] for r in group})
        texts.append(f"### {title}\n\nTrained on {', '.join(cats)}; {len(group)} runs.\n\n")
        texts.append(markdown(rows, "unseen category, %"))
        sheets.append(to_csv(rows) if not sheets else to_csv(rows).split("\n", 1)[1])
    text = "".join(texts)
    files = {
        folder / "results.jsonl": "".join(json.dumps(result) + "\n" for result in results),
        folder / "table.md": text,
        folder / "table.csv": "".join(sheets),
    }
    for path, content in files.items():
        write_text(path, content)
    drawn = [path for run in runs if (path := run.pictures_path(dataset)).is_file()]
    return text, [*files, *drawn]


def _draw_examples(
    scored: Sequence[CategoryScores],
    dataset: Dataset,
    path: Path,
    count: int,
    result: dict[str, Any],
) -> None:
    """Shape, ground truth and scores of one defective scan from each of `count` categories.

    The scan of the median object score among a category's defective ones is shown: neither the
    best nor the worst.
    """
    rows = []
    for scores in scored[:: max(1, len(scored) // count)][:count]:
        data = scores.data
        defective = np.flatnonzero(data.is_anomalous.numpy())
        if not len(defective):
            continue
        by_score = defective[np.argsort(scores.object_scores[defective])]
        chosen = int(by_score[len(by_score) // 2])
        cloud = dataset.read(data.samples[chosen])
        points = cloud.points - cloud.points.mean(0)
        scale = np.linalg.norm(points, axis=1).max()
        sampled = data.features.points[chosen].numpy()
        values = scores.point_scores[chosen][nearest_rows(points / scale, sampled)]
        spread = max(float(values.max()), 1e-6)
        labels = np.zeros(len(points)) if cloud.labels is None else cloud.labels.astype(float)
        rows.append(
            [
                Panel(f"{data.category}: {cloud.name}", points),
                Panel("ground truth", points, labels),
                Panel(f"score / {spread:.2f}", points, values / spread),
            ]
        )
    if rows:
        caption = f"trained on {result['train_cat']}, unseen categories, recipe {result['recipe']}"
        draw(rows, path, caption)
