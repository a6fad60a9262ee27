"""From finished runs and baselines to results: one JSON line for each, with all that made it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import btp
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.prepare import sampled_rows
from btp.drawing.pictures import Panel, draw
from btp.errors import DataError, WeightsError
from btp.evaluation.scoring import CategoryScores, evaluate, mean_over_categories
from btp.experiments.runs import Run
from btp.features.store import FeatureStore
from btp.inspect.predictor import Inspector
from btp.models.checkpoint import load_detector
from btp.models.detector import Detector
from btp.runtime.files import file_digest
from btp.types import N_POINTS
from btp.weights.state_dict import read_metadata

_TIMED = 4  # clouds, of one category each


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
        store: of the encoder and settings that it was trained with.
        thresholds: of AU-PRO, None for exact.
        pictures: number of scans to draw.
        rescore: also if the stored result already belongs to this detector and these scans.

    Returns:
        The result, as stored.

    Raises:
        DataError: if the run has not finished, or its stored result is damaged or was measured by
            another version.
        WeightsError: if its features came from other encoder weights or another sampling.
    """
    if not run.detector_path.is_file():
        raise DataError(f"{run.detector_path}: no such file; expected a finished run's folder")
    check_features(run, store)
    scored = {
        "detector": file_digest(run.detector_path),
        "scans": dataset.fingerprint(),
        "thresholds": thresholds,
    }
    known = None if rescore else stored_result(run, dataset.name)
    if known and all(known.get(key) == value for key, value in scored.items()):
        return known
    detector, encoder, about = load_detector(run.detector_path)
    detector.to(store.model.device)
    seen = about["train_cat"] if _may_share_scans(about, dataset) else None
    scores = evaluate(detector, dataset, store, seen)
    measured, examples = _measure(scores, dataset, thresholds, pictures)
    # Table 5 has the full method's
    full = detector.recipe.variant == "full"
    speed = clouds_per_second(detector, dataset, store) if full else float("nan")
    result = about | {
        "text_fingerprint": about.get("text_fingerprint", "unknown"),
        "encoder": asdict(encoder),
        "recipe": asdict(detector.recipe),
        **circumstances(dataset, store),
        **scored,
        "clouds_per_second": speed,
        **measured,
    }
    run.write_result(dataset.name, result)
    if examples:
        draw(
            examples,
            run.pictures_path(dataset.name),
            f"unseen categories; trained on {result['train_cat']}, {title_of(result)}",
            label="ground truth, or score as a share of the scan's highest",
        )
    return result


def stored_result(run: Run, dataset: str) -> dict[str, Any] | None:
    """A run's stored result on a dataset; None if there is none.

    Raises:
        DataError: if it is damaged or was measured by another version of this project.
    """
    known = run.result(dataset)
    if known is None:
        return None
    path = run.result_path(dataset)
    if not isinstance(known.get("categories"), dict) or "recipe" not in known:
        raise DataError(f"{path}: not a whole result; remove it, or score again with rescore=true")
    if known.get("btp") != btp.__version__:
        raise DataError(
            f"{path}: measured by version {known.get('btp')}, and this is {btp.__version__}; score "
            "again with rescore=true"
        )
    return known


def check_features(run: Run, store: FeatureStore) -> None:
    """Compare what a run was trained on with what is here.

    Raises:
        WeightsError: if its features came from other weights or another sampling.
    """
    about = read_metadata(run.detector_path) or {}
    here = {
        "encoder_fingerprint": store.model.fingerprint,
        "text_fingerprint": store.model.text_fingerprint,
        "n_points": store.n_points,
        "sampling_seed": store.seed,
    }
    for name, value in here.items():
        if value != "" and about.get(name, value) != value:  # "": a text tower that is not here
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


def measure(scores: Iterable[CategoryScores], thresholds: int | None = None) -> dict[str, Any]:
    """The part of a result that is measured: "categories", their "mean", and "repeated" scans."""
    return _measure(scores, None, thresholds, 0)[0]


def _measure(
    scores: Iterable[CategoryScores], dataset: Dataset | None, thresholds: int | None, pictures: int
) -> tuple[dict[str, Any], list[list[Panel]]]:
    """All metrics of each category as they come, and an example of some."""
    categories: dict[str, dict[str, float]] = {}
    repeated: dict[str, int] = {}
    examples: list[list[Panel]] = []
    every = max(1, len(dataset.categories) // max(1, pictures)) if dataset else 1
    for number, each in enumerate(scores):
        category = each.data.category
        categories[category] = each.measure(thresholds)
        if small := int(each.data.repeated.sum()):
            repeated[category] = small
        if dataset and number % every == 0 and len(examples) < pictures:
            examples += _example(each, dataset)
    means = mean_over_categories([*categories.values()])
    mean = {metric: value for metric, (value, _) in means.items()}
    return {"repeated": repeated, "categories": categories, "mean": mean}, examples


def circumstances(dataset: Dataset, store: FeatureStore) -> dict[str, Any]:
    """Where, with what version and on which scans a result is measured."""
    return {
        "btp": btp.__version__,
        "torch": torch.__version__,
        "device": device_name(store.model.device),
        "test_dataset": dataset.name,
        "test_problems": dataset.problems(),
    }


def device_name(device: torch.device) -> str:
    """What a result was measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def clouds_per_second(detector: Detector, dataset: Dataset, store: FeatureStore) -> float:
    """Speed from raw points to scores of all of them: sampling, encoder, detector; no reading.

    Measured on one batch by the clock on the wall, after another cloud has warmed everything up, so
    whatever else the machine is doing counts.
    """
    samples = [s for c in dataset.categories for s in dataset.samples(c, "test")[:1]]
    clouds = [dataset.read(sample).points for sample in samples[:_TIMED]]
    inspector = Inspector(detector, store.model, store.n_points)
    inspector.predict(clouds[0], coverage="sampled")
    started = time.perf_counter()
    inspector.predict(list(clouds), coverage="sampled")
    return len(clouds) / (time.perf_counter() - started)


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
    points = cloud.points
    nearest = sampled_rows(points, data.features.points[chosen].numpy())
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


def title_of(result: Mapping[str, Any]) -> str:
    """A result's dataset, encoder, recipe and unusual settings, for headings."""
    untrained = "" if result["encoder_trained"] else " (encoder: untrained)"
    points = "" if result["n_points"] == N_POINTS else f", {result['n_points']} points"
    thresholds = f", {result['thresholds']} thresholds" if result["thresholds"] else ""
    recipe, variant = result["recipe"]["name"], result["recipe"].get("variant", "full")
    named = recipe if variant == "full" else f"{recipe}, variant {variant}"
    where = f"{result['test_dataset']}, {result['encoder']['name']}{untrained}"
    return f"{where}, recipe {named}{points}{thresholds}"
