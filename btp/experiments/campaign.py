"""Doing what is missing for a report: training and scoring, one finished piece after the other.

Whatever is finished is on disk and is never done again, so a campaign may be killed at any moment
and started again; and several may work on the same folder at once, each taking what no other is at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from btp.data.dataset import Dataset
from btp.errors import BTPError, DataError, WeightsError
from btp.experiments.baseline_runs import BaselinePlan, plan_baselines, score_plan, stored
from btp.experiments.protocol import Plan, plan_tables, train_plan
from btp.experiments.record import Result
from btp.experiments.runs import Run
from btp.experiments.score_run import score_run
from btp.experiments.seeds import train_seeds
from btp.experiments.shares import Shares
from btp.features.cache import SharedStore
from btp.features.store import FeatureStore
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.weights.state_dict import read_metadata

# Where seeds are trained side by side, and how many at most: the paper's ten.
SIDE_BY_SIDE_ON, SIDE_BY_SIDE = "cuda", 10


class Campaign:
    """Trains and scores runs of one dataset with one encoder, sharing what they load.

    Attributes:
        left_out: what could not be done or used, and why.
        shares: of the time so far.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: PointLanguageModel,
        store: Path,
        outputs: str | Path,
        thresholds: int | None = None,
        pictures: int = 0,
        rescore: bool = False,
        say: Callable[[str], object] = print,
    ) -> None:
        """Set up; nothing is loaded yet.

        Args:
            dataset: all runs train and are scored on.
            model: their encoder.
            store: folder of the features.
            outputs: folder of all runs.
            thresholds: of AU-PRO, None for exact.
            pictures: scans drawn per run; `train_and_score` draws one run of each recipe.
            rescore: score again what was scored before.
            say: told of each finished piece.
        """
        self.dataset, self.model, self.outputs = dataset, model, outputs
        self.thresholds, self.pictures, self.rescore = thresholds, pictures, rescore
        self.say = say
        self.left_out: list[str] = []
        self.shares = Shares()
        self._folder = store
        self._store: SharedStore | None = None
        self._scored_here: set[Run] = set()
        self._alone: set[Plan] = set()  # could not be trained side by side

    def store(self, n_points: int, seed: int) -> SharedStore:
        """Features of these settings; those of others are let go."""
        kept = self._store
        if kept is None or (kept.n_points, kept.seed) != (n_points, seed):
            kept = SharedStore(FeatureStore(self._folder, self.model, n_points, seed))
            self._store = kept
        return kept

    def complete(
        self,
        tables: Sequence[str],
        base: Plan,
        recipes: Mapping[str, Recipe],
        seeds: Sequence[int],
        commands: tuple[Callable[[Plan], str], str],
        dataset_settings: dict[str, Any],
    ) -> None:
        """Train and score what tables lack, baselines included.

        Args:
            tables: of `btp.experiments.protocol.TABLES`.
            base: settings; train category, seed and recipe are replaced.
            recipes: by variant; those that the tables need.
            seeds: of each cell.
            commands: what trains one of the runs, and what measures the baselines.
            dataset_settings: as in `train_and_score`.
        """
        plans = plan_tables(tables, base, self.dataset.categories, recipes, seeds)
        baselines = plan_baselines(tables, base, self.dataset.categories, seeds)
        self.say(f"{len(plans)} runs and {len(baselines)} baselines, finished ones included")
        # n_points by n_points: the first ones share their features with the baselines
        train, measure = commands
        own = [plan for plan in plans if plan.n_points == base.n_points]
        self.train_and_score(own, train, dataset_settings)
        self.baselines(baselines, measure, run_missing=True)
        others = [plan for plan in plans if plan.n_points != base.n_points]
        self.train_and_score(others, train, dataset_settings)
        self.say(f"time: {self.shares}\n")

    def train_and_score(
        self,
        plans: Sequence[Plan],
        command: Callable[[Plan], str],
        dataset_settings: dict[str, Any],
    ) -> None:
        """Train what is not trained, score what is not scored.

        On CUDA, plans that differ in nothing but their seed are trained together.

        Args:
            plans: each ends up finished, or named in `left_out`.
            command: that trains one of them alone.
            dataset_settings: name and root of the dataset, for results.
        """
        waiting = list(enumerate(plans, start=1))
        wait = False  # first all that no other process is at, then for what the others were at
        while waiting:
            again = []
            for number, plan in waiting:
                if not wait and self.model.device.type == SIDE_BY_SIDE_ON:
                    self._train_beside(plan, plans, command, dataset_settings)
                with _naming(self.left_out):
                    if not self._do(
                        plan, command(plan), dataset_settings, wait, f"{number}/{len(plans)}"
                    ):
                        again.append((number, plan))
            waiting, wait = again, True

    def _train_beside(
        self,
        plan: Plan,
        plans: Sequence[Plan],
        command: Callable[[Plan], str],
        settings: dict[str, Any],
    ) -> None:
        """Train a plan and what differs from it in the seed alone, unless it is trained."""
        alike = [
            each
            for each in plans
            if replace(each, seed=plan.seed) == plan
            and each not in self._alone
            and not each.run(self.outputs, self.model.config.name).detector_path.is_file()
        ]
        if plan not in alike:
            return
        some = alike[alike.index(plan) :][:SIDE_BY_SIDE]
        try:
            store = self.store(plan.n_points, plan.sampling_seed)
            with self.shares.counted("training", store):
                runs = train_seeds(some, self.dataset, store, self.outputs, command, settings)
        except (BTPError, torch.OutOfMemoryError) as error:
            # alone the fault is that of one run, and there is more memory for each
            self._alone.update(some)
            self.say(f"{plan.train_cat}: {len(some)} seeds are trained one by one: {error}")
            return
        if runs:
            self.say(f"{runs[0].folder.parent}: {len(runs)} seeds trained side by side")

    def _do(
        self, plan: Plan, command: str, settings: dict[str, Any], wait: bool, number: str
    ) -> bool:
        run = plan.run(self.outputs, self.model.config.name)
        there = run.detector_path.is_file()
        store = self.store(plan.n_points, plan.sampling_seed)
        before = self.shares.spent["training"]
        with self.shares.counted("training", store):
            done = train_plan(
                plan, self.dataset, store, self.outputs, command, settings, wait=wait, quiet=True
            )
        training = self.shares.spent["training"] - before
        # all of a table's runs would look alike, and drawing takes as long as scoring
        pictures = 0 if run.drawn_beside(self.dataset.name) else self.pictures
        if done is None or not self._scored(run, store, wait, pictures):
            return False
        trained = "trained before" if there else f"trained in {training:.0f} s"
        self.say(f"[{number}] {run.folder}: {trained}")
        return True

    def score(self, runs: Sequence[Run]) -> list[Result]:
        """Results of finished runs, scoring those that have none; failures go to `left_out`."""
        features: list[tuple[int, int, Run]] = []
        results = []
        for run in runs:
            with _naming(self.left_out):
                features.append((*_features(run), run))
        for *_, run in sorted(features, key=lambda each: each[:2]):
            with _naming(self.left_out):
                results.append(self.result_of(run))
        return results

    def result_of(self, run: Run) -> Result:
        """The result of a finished run, scoring it if it has none.

        Raises:
            BTPError: as `score_run`.
        """
        result = self._scored(run, self.store(*_features(run)), True, self.pictures)
        assert result is not None, "waited for"
        return Result(str(run.folder), result)

    def _scored(
        self, run: Run, store: SharedStore, wait: bool, pictures: int
    ) -> dict[str, Any] | None:
        with run.claimed(wait) as mine:
            if not mine:
                return None
            rescore = self.rescore and run not in self._scored_here
            given = self.thresholds, pictures, rescore
            with self.shares.counted("scoring", store):
                result = score_run(run, self.dataset, store, *given)
            self._scored_here.add(run)
        return result

    def baselines(
        self, plans: Sequence[BaselinePlan], command: str, run_missing: bool
    ) -> list[Result]:
        """Results of baselines; those that have none are scored if asked to."""
        results = []
        for number, plan in enumerate(plans, start=1):
            store = self.store(plan.settings.n_points, plan.settings.sampling_seed)
            run = plan.run(self.outputs, self.model.config.name)
            with _naming(self.left_out):
                known = stored(plan, self.dataset, store, self.outputs, self.thresholds)
                if run_missing and (known is None or self.rescore):
                    known = self._score_baseline(plan, store, command)
                    self.say(f"[baseline {number}/{len(plans)}] {run.folder}")
                if known is not None:
                    results.append(Result(str(run.folder), known))
        return results

    def stored_baselines(self, plans: Sequence[BaselinePlan]) -> list[Result]:
        """Results of those baselines that were measured."""
        return self.baselines(plans, "", run_missing=False)

    def _score_baseline(
        self, plan: BaselinePlan, store: SharedStore, command: str
    ) -> dict[str, Any]:
        """Another process may have measured it while this one waited for it."""
        run = plan.run(self.outputs, self.model.config.name)
        with run.claimed(wait=True), self.shares.counted("scoring", store):
            given = self.dataset, store, self.outputs
            known = None if self.rescore else stored(plan, *given, self.thresholds)
            return known or score_plan(plan, *given, command, self.thresholds)


def _features(run: Run) -> tuple[int, int]:
    """Number of points and sampling seed that a run was trained with."""
    if not run.detector_path.is_file():
        raise DataError(f"{run.detector_path}: no such file; expected a finished run's folder")
    about = read_metadata(run.detector_path)
    if about is None:
        raise WeightsError(f"{run.detector_path}: no settings in it; train again")
    return int(about["n_points"]), int(about["sampling_seed"])


@contextmanager
def _naming(left_out: list[str]) -> Iterator[None]:
    """Note what cannot be done, and go on with the rest."""
    try:
        yield
    except BTPError as error:
        left_out.append(str(error))
