"""Scoring a finished run on every category that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.prepare import sampled_rows
from btp.drawing.pictures import Panel, draw
from btp.errors import DataError, WeightsError
from btp.evaluation.scoring import CategoryScores, evaluate
from btp.experiments.measure import circumstances, measure
from btp.experiments.record import RunRecord
from btp.experiments.runs import Run
from btp.experiments.workspace import Workspace
from btp.models.checkpoint import load_detector
from btp.runtime.files import file_digest
from btp.weights.state_dict import read_metadata


def score_run(
    run: Run,
    workspace: Workspace,
    thresholds: int | None = None,
    pictures: int = 6,
    rescore: bool = False,
) -> RunRecord:
    """Score a run on every category that it has not seen; keep its record and some pictures.

    Args:
        run: finished; trained on the workspace's dataset, or on another.
        workspace: of the encoder that it was trained with.
        thresholds: of AU-PRO, None for exact.
        pictures: number of scans to draw.
        rescore: also if the record that there is already belongs to this detector and these scans.

    Raises:
        DataError: if the run has not finished, or its record is damaged or of another version.
        WeightsError: if its features came from other encoder weights.
    """
    header = read_header(run)
    dataset, store = workspace.dataset, workspace.store(*sampling_of(header))
    check_features(run, header, workspace)
    digest, scans = file_digest(run.detector_path), workspace.scans
    known = None if rescore else run.record(dataset.name)
    if known and (known.detector, known.scans, known.thresholds) == (digest, scans, thresholds):
        return known
    trained = load_detector(run.detector_path)
    detector = trained.detector.to(store.model.device)
    panels: list[list[Panel]] = []
    scores = evaluate(detector, dataset, store, seen_category(header, dataset))
    record = RunRecord(
        folder=str(run.folder),
        baseline=None,
        train_dataset=header["dataset"]["name"],
        train_cat=header["train_cat"],
        seed=header["seed"],
        recipe=trained.recipe,
        n_points=store.n_points,
        sampling_seed=store.seed,
        encoder=trained.encoder.name,
        encoder_fingerprint=header["encoder_fingerprint"],
        text_fingerprint=header.get("text_fingerprint", "unknown"),
        encoder_trained=header["encoder_trained"],
        heads_digest=header.get("heads_digest", ""),
        bfloat16=header.get("bfloat16", False),
        detector=digest,
        epoch=header.get("epoch"),
        loss=header.get("loss"),
        command=header.get("command", ""),
        thresholds=thresholds,
        **circumstances(workspace),
        **measure(_with_panels(scores, dataset, pictures, panels), thresholds),
    )
    if panels:
        draw(
            panels,
            run.pictures_path(dataset.name),
            f"unseen categories; trained on {record.train_cat}, {record.title}",
            label="ground truth, or score as a share of the scan's highest",
        )
    run.write_record(dataset.name, record)  # last: a run with a record is not scored again
    return record


def read_header(run: Run) -> dict[str, Any]:
    """Read what a finished run's detector says of its training.

    Raises:
        DataError: if there is no detector.
        WeightsError: if its file says nothing.
    """
    if not run.detector_path.is_file():
        raise DataError(f"{run.detector_path}: no such file; expected a finished run's folder")
    header = read_metadata(run.detector_path)
    if header is None:
        raise WeightsError(f"{run.detector_path}: no settings in it; train again")
    return header


def sampling_of(header: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of points and the sampling seed that a run was trained with."""
    return int(header["n_points"]), int(header["sampling_seed"])


def check_features(run: Run, header: Mapping[str, Any], workspace: Workspace) -> None:
    """Compare the weights that a run was trained with to those that are here.

    Raises:
        WeightsError: if its features came from others.
    """
    model = workspace.model
    here = {
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
    }
    for name, value in here.items():
        if value != "" and header.get(name, value) != value:  # "": a text tower that is not here
            raise WeightsError(
                f"{run.detector_path}: was trained on features with {name} {header[name]}, and the "
                f"encoder {model.config.name} here has {value}; choose the encoder and settings "
                "that it was trained with, or train again"
            )


def seen_category(header: Mapping[str, Any], dataset: Dataset) -> str | None:
    """Return the train category if its scans may be in a dataset, so that it is not scored.

    Two different benchmarks share no scans; of a user's folder nobody knows.
    """
    trained_on = header["dataset"]["name"]
    shared = trained_on in (dataset.name, "folder") or isinstance(dataset, Folder)
    return header["train_cat"] if shared else None


def _with_panels(
    scores: Iterable[CategoryScores], dataset: Dataset, wanted: int, panels: list[list[Panel]]
) -> Iterator[CategoryScores]:
    """Pass scores on, and collect the panels of an example from some of the categories."""
    every = max(1, len(dataset.categories) // max(1, wanted))
    for number, each in enumerate(scores):
        if number % every == 0 and len(panels) < wanted:
            panels += _example(each, dataset)
        yield each


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
