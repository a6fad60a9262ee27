"""Training planned runs together, where they differ in their seeds only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from btp.data.dataset import Dataset
from btp.experiments.protocol import Plan, bfloat16_of, metadata_of
from btp.experiments.runs import Run
from btp.features.store import FeatureStore
from btp.training.side_by_side import Job, train_side_by_side


def train_seeds(
    plans: Sequence[Plan],
    dataset: Dataset,
    store: FeatureStore,
    outputs: str | Path,
    command: Callable[[Plan], str],
    dataset_settings: Mapping[str, Any],
) -> list[Run]:
    """Train side by side what is left of plans that differ in their seeds only.

    Left out is what is finished, what another process is at, and what cannot be trained:
    `train_plan` says why. Of a single one nothing is made here.

    Args:
        plans: of one category and one recipe.
        dataset: that they train on.
        store: of the encoder, with the plans' points.
        outputs: folder of all runs.
        command: that repeats one of them alone.
        dataset_settings: name and root of the dataset, for the results.

    Returns:
        The runs that were trained.

    Raises:
        DataError: as `train_side_by_side`.
        WeightsError: an interrupted run of other settings.
    """
    with ExitStack() as claims:
        jobs, runs = [], []
        for plan in plans:
            run = plan.run(outputs, store.model.config.name)
            if claims.enter_context(run.claimed(wait=False)) and not run.detector_path.is_file():
                about = metadata_of(plan, store, command(plan), dataset_settings)
                jobs.append(Job(plan.seed, run.folder, about))
                runs.append(run)
        if len(jobs) < 2:
            return []
        recipe, bfloat16 = plans[0].recipe, bfloat16_of(plans[0], store)
        data = store.load_annotated(dataset, plans[0].train_cat, recipe)
        train_side_by_side(data, store.model, recipe, jobs, True, bfloat16, quiet=True)
    return runs
