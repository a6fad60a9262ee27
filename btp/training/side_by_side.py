"""Several seeds of one recipe trained in one batch: for CUDA, where a step costs mostly launches.

`btp.training.loop.train` is the definition: here its steps are done for all seeds at once, and each
run's folder holds the same files. On CPU a step costs its arithmetic, and the plain forms, which
alone can be stacked, have several times as much of it: there this was measured and is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from btp.features.store import FeatureSet
from btp.models.detector import Detector
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training import resume as progress
from btp.training.loop import Trainee, begin, beside, check_enough, check_finite, finish
from btp.training.resume import State, scalars, write_scalars
from btp.training.stacked import Stack


class Job(NamedTuple):
    """One of the runs.

    Attributes:
        seed: of initialisation and order.
        out: folder of the run.
        metadata: kept in the detector's file; a resumed run must have the same.
    """

    seed: int
    out: Path
    metadata: dict[str, Any] | None = None


def train_side_by_side(
    data: FeatureSet,
    model: PointLanguageModel,
    recipe: Recipe,
    jobs: Sequence[Job],
    resume: bool = False,
    bfloat16: bool = False,
    quiet: bool = False,
) -> list[Detector]:
    """`train` for each of the jobs; the same weights, to rounding.

    A run that was interrupted here may go on in `train`, and the other way round. Those that go on
    from the same epoch go on together.

    Args:
        data: annotated scans of the train category, with FPFH targets.
        model: the frozen point-language model that made `data`.
        recipe: switches and hyperparameters, the same for all.
        jobs: seed, folder and metadata of each run.
        resume: each goes on from its folder's resume.pt if it is there.
        bfloat16: autocast the heads; losses stay in float32.
        quiet: show no progress bar.

    Returns:
        The detectors of the jobs.

    Raises:
        DataError: if there are too few scans for one batch, or one run's loss stops being finite.
        WeightsError: if a resume.pt belongs to other settings.
    """
    check_enough(data, recipe)
    runs = [_Run(begin(data, model, recipe, *job, bfloat16), job) for job in jobs]
    first = [run.state.restore() if resume else run.state.forget() for run in runs]
    data = beside(data, model.device)
    detectors: dict[int, Detector] = {}
    for epoch in sorted(set(first)):
        places = [place for place, of in enumerate(first) if of == epoch]
        some = [runs[place] for place in places]
        _go_on(data, model, recipe, some, epoch, bfloat16, quiet)
        for place, run in zip(places, some, strict=True):
            detectors[place] = finish(run.state, model, run.job.out, run.job.metadata)
    return [detectors[place] for place in range(len(jobs))]


class _Run(NamedTuple):
    state: State[Trainee]
    job: Job


def _go_on(
    data: FeatureSet,
    model: PointLanguageModel,
    recipe: Recipe,
    runs: Sequence[_Run],
    first: int,
    bfloat16: bool,
    quiet: bool,
) -> None:
    """All epochs from the first; then each run's state holds the epoch to keep."""
    stack = Stack([run.state for run in runs], model, recipe)
    seeds = [run.job.seed for run in runs]
    title = f"train {data.category}, {len(runs)} seeds"
    with ExitStack() as opened:
        boards = [opened.enter_context(scalars(run.job.out, first)) for run in runs]
        epochs = range(first, recipe.epochs)
        for epoch in tqdm(epochs, title, recipe.epochs, initial=first, disable=quiet):
            losses = stack.run_epoch(data, seeds, epoch, bfloat16)
            for seed, each in zip(seeds, losses, strict=True):
                check_finite(each, f"{data.category}, seed {seed}", epoch)
            stack.hand_over(with_optimizer=(epoch + 1) % progress.RESUME_EVERY == 0)
            for run, board, each in zip(runs, boards, losses, strict=True):
                write_scalars(board, epoch, each, stack.optimizer)
                run.state.after_epoch(epoch, each["total"], recipe.keep == "lowest_loss")
