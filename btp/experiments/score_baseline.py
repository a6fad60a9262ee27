"""Scoring a baseline on every category that it has not been trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from btp.errors import DataError
from btp.evaluation import memory
from btp.evaluation.scoring import CategoryScores, score
from btp.experiments.baselines import BaselinePlan
from btp.experiments.measure import circumstances, measure
from btp.experiments.record import RunRecord
from btp.experiments.workspace import Workspace
from btp.features.store import Wanted
from btp.models.ulip import ZERO_SHOT_TEXTS, ZeroShot
from btp.training.linear import train_linear
from btp.types import Features, Scores

_MEMORIES: dict[str, dict[str, Any]] = {  # arguments of `memory.remember`
    "btf": {
        "describe": memory.point_fpfh,
        "of_points": True,
        "object_score": "reweighted_without_nearest",
    },
    "patchcore_fpfh": {
        "describe": memory.point_fpfh,
        "of_points": True,
        "most": memory.POINTS_KEPT,
        "object_score": "maximum",
    },
    "patchcore_encoder": {
        "describe": memory.patch_taps,
        "of_points": False,
        "share": memory.CORESET,
        "object_score": "reweighted",
    },
}


def score_baseline(
    plan: BaselinePlan, workspace: Workspace, thresholds: int | None = None
) -> RunRecord:
    """Score a baseline on every category that it has not been trained on, and keep its record.

    Args:
        plan: which.
        workspace: of its dataset and encoder.
        thresholds: of AU-PRO, None for exact.

    Raises:
        DataError: no normal training scans where a memory needs them, or too few to train on.
    """
    settings, model, run = plan.settings, workspace.model, workspace.run(plan)
    record = RunRecord(
        folder=str(run.folder),
        baseline=plan.name,
        train_dataset=None if plan.train_cat is None else workspace.dataset.name,
        train_cat=plan.train_cat,
        seed=settings.seed,
        recipe=None if plan.baseline.sees_normal_scans else settings.recipe,
        n_points=settings.n_points,
        sampling_seed=settings.sampling_seed,
        encoder=workspace.encoder,
        encoder_fingerprint=model.fingerprint,
        text_fingerprint=model.text_fingerprint,
        encoder_trained=model.trained,
        heads_digest="",
        bfloat16=False,
        detector=None,
        epoch=None,
        loss=None,
        command=workspace.commands.baseline(plan),
        thresholds=thresholds,
        fpfh_radii=plan.options.fpfh_radii,
        registration=plan.options.registration,
        **circumstances(workspace),
        **measure(baseline_scores(plan, workspace), thresholds),
    )
    run.write_record(workspace.dataset.name, record)
    return record


def current_record(
    plan: BaselinePlan, workspace: Workspace, thresholds: int | None = None
) -> RunRecord | None:
    """Read a baseline's record, if it was measured with these settings, features and scans.

    Raises:
        DataError: if it is damaged.
    """
    path = workspace.run(plan).record_path(workspace.dataset.name)
    if not path.is_file():
        return None
    known = workspace.run(plan).record(workspace.dataset.name)
    model = workspace.model
    wanted = {
        "recipe": None if plan.baseline.sees_normal_scans else plan.settings.recipe,
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
        "thresholds": thresholds,
        "scans": workspace.scans,
    }
    return known if all(getattr(known, k) == v for k, v in wanted.items()) else None


def baseline_scores(plan: BaselinePlan, workspace: Workspace) -> Iterator[CategoryScores]:
    """Score the categories that a baseline has not been trained on, one by one.

    Raises:
        DataError: no normal training scans where a memory needs them, or too few to train on.
    """
    categories = [c for c in workspace.dataset.categories if c != plan.train_cat]
    if plan.baseline.sees_normal_scans:
        for category in categories:
            yield _by_memory(plan, workspace, category)
        return
    dataset, model, settings = workspace.dataset, workspace.model, plan.settings
    store = workspace.store(settings.n_points, settings.sampling_seed)
    method: Callable[[Features], Scores]
    if plan.train_cat is not None:
        data = store.load(dataset, plan.train_cat, settings.recipe.training.train_split)
        method = train_linear(data, model, settings.recipe, settings.seed)
    else:
        text = model.encode_text(ZERO_SHOT_TEXTS)
        method = ZeroShot(text, settings.recipe.detector.object_temperature)
    for category in categories:
        yield score(method, store.load(dataset, category, "test"), model.device)


def _by_memory(plan: BaselinePlan, workspace: Workspace, category: str) -> CategoryScores:
    dataset, device = workspace.dataset, workspace.model.device
    if not dataset.samples(category, "train"):
        raise DataError(
            f"{dataset.name}, {category}: no normal scans in its train folder, and "
            f"{plan.baseline.title} compares with those; add some, or leave this baseline out"
        )
    store = workspace.store(plan.settings.n_points, plan.settings.sampling_seed)
    how = _MEMORIES[plan.name]
    wanted = Wanted(
        point_fpfh=plan.baseline.reads_fpfh,
        fpfh_radii=plan.options.fpfh_radii,
        registration=plan.options.registration,
    )
    normal = store.load(dataset, category, "train", wanted)
    bank = memory.remember(normal, seed=plan.settings.seed, device=device, **how)
    return score(bank, store.load(dataset, category, "test", wanted), device)
