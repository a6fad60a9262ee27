"""Doing what is missing for a report: training and scoring, one finished piece after the other.

Whatever is finished is on disk and is never done again, so a campaign may be killed at any moment
and started again; and several may work on the same folder at once, each taking what no other is at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from btp.errors import BTPError, DataError
from btp.experiments.baselines import BaselinePlan, plan_baselines
from btp.experiments.memory_options import USUAL, MemoryOptions
from btp.experiments.protocol import Plan, plan_tables
from btp.experiments.record import RunRecord
from btp.experiments.runs import Run, find_runs, find_scored_baselines
from btp.experiments.score_baseline import current_record, score_baseline
from btp.experiments.score_run import read_header, sampling_of, score_run
from btp.experiments.time_spent import TimeSpent
from btp.experiments.train_run import train_run
from btp.experiments.workspace import Workspace
from btp.recipe import Recipe


class Campaign:
    """Trains and scores the runs of a workspace.

    Attributes:
        left_out: what could not be done or used, and why.
        time: spent so far.
    """

    def __init__(
        self,
        workspace: Workspace,
        thresholds: int | None = None,
        pictures: int = 0,
        rescore: bool = False,
        say: Callable[[str], object] = print,
    ) -> None:
        """Set up; nothing is loaded yet.

        Args:
            workspace: of the runs.
            thresholds: of AU-PRO, None for exact.
            pictures: scans drawn per run; `train_and_score` draws one run of each recipe.
            rescore: score again what was scored before.
            say: told of each finished piece.
        """
        self.workspace = workspace
        self.thresholds, self.pictures, self.rescore = thresholds, pictures, rescore
        self.say = say
        self.left_out: list[str] = []
        self.time = TimeSpent()
        self._scored_here: set[Run] = set()

    def complete(
        self,
        tables: Sequence[str],
        base: Plan,
        recipes: Mapping[str, Recipe],
        seeds: Sequence[int],
        options: MemoryOptions = USUAL,
    ) -> None:
        """Train and score what tables lack, baselines included.

        Args:
            tables: of `btp.experiments.protocol.TABLES`.
            base: settings; train category, seed and recipe are replaced.
            recipes: by variant; those that the tables need.
            seeds: of each cell.
            options: of the memories among the baselines.
        """
        categories = self.workspace.dataset.categories
        plans = plan_tables(tables, base, categories, recipes, seeds)
        baselines = plan_baselines(tables, base, categories, seeds, options)
        self.say(f"{len(plans)} runs and {len(baselines)} baselines, finished ones included")
        # n_points by n_points: the first ones share their features with the baselines
        self.train_and_score([plan for plan in plans if plan.n_points == base.n_points])
        self.score_baselines(baselines)
        self.train_and_score([plan for plan in plans if plan.n_points != base.n_points])
        self.say(f"time: {self.time}\n")

    def train_and_score(self, plans: Sequence[Plan]) -> None:
        """Train what is not trained, score what is not scored.

        Args:
            plans: each ends up finished, or named in `left_out`.
        """
        waiting = list(enumerate(plans, start=1))
        wait = False  # first all that no other process is at, then for what the others were at
        while waiting:
            again = []
            for number, plan in waiting:
                with _naming(self.left_out):
                    if not self._do(plan, wait, f"{number}/{len(plans)}"):
                        again.append((number, plan))
            waiting, wait = again, True

    def _do(self, plan: Plan, wait: bool, number: str) -> bool:
        """Train and score one run; False if another process is at it."""
        run = self.workspace.run(plan)
        there = run.detector_path.is_file()
        store = self.workspace.store(plan.n_points, plan.sampling_seed)
        before = self.time.spent["training"]
        with self.time.on("training", store):
            trained = train_run(plan, self.workspace, wait=wait, quiet=True)
        seconds = self.time.spent["training"] - before
        # all of a table's runs would look alike, and drawing takes as long as scoring
        pictures = 0 if run.drawn_beside(self.workspace.dataset.name) else self.pictures
        if trained is None or self._score(run, wait, pictures) is None:
            return False
        how = "trained before" if there else f"trained in {seconds:.0f} s"
        self.say(f"[{number}] {run.folder}: {how}")
        return True

    def score_baselines(self, plans: Sequence[BaselinePlan]) -> None:
        """Score the baselines that were not scored, or by another version.

        Failures go to `left_out`.
        """
        for number, plan in enumerate(plans, start=1):
            run = self.workspace.run(plan)
            store = self.workspace.store(plan.settings.n_points, plan.settings.sampling_seed)
            with (
                _naming(self.left_out),
                run.claimed(wait=True),
                self.time.on("scoring", store),
            ):
                if self.rescore or not self._is_scored(plan):
                    score_baseline(plan, self.workspace, self.thresholds)
                    self.say(f"[baseline {number}/{len(plans)}] {run.folder}")

    def _is_scored(self, plan: BaselinePlan) -> bool:
        """Whether a baseline's record is there and can be used; says why one cannot."""
        try:
            return current_record(plan, self.workspace, self.thresholds) is not None
        except DataError as error:  # damaged, or of another version: nothing but a measurement
            self.say(f"measured again: {error}")
            return False

    def records(self) -> list[RunRecord]:
        """Return the records of all finished runs and scored baselines of the workspace.

        Runs that were not scored are scored now; what cannot be used goes to `left_out`.
        """
        where = self.workspace.outputs, self.workspace.dataset.name, self.workspace.encoder
        found = self.score(find_runs(*where))
        for run in find_scored_baselines(*where):
            with _naming(self.left_out):
                record = run.record(self.workspace.dataset.name)
                found += [] if record is None else [record]
        return found

    def score(self, runs: Sequence[Run]) -> list[RunRecord]:
        """Return the records of finished runs, scoring those that have none."""
        by_sampling: list[tuple[tuple[int, int], Run]] = []
        records = []
        for run in runs:
            with _naming(self.left_out):
                by_sampling.append((sampling_of(read_header(run)), run))
        for _, run in sorted(by_sampling, key=lambda each: each[0]):
            with _naming(self.left_out):
                records.append(self.record_of(run))
        return records

    def record_of(self, run: Run) -> RunRecord:
        """Return the record of a finished run, scoring it if it has none.

        Raises:
            BTPError: as `score_run`.
        """
        record = self._score(run, True, self.pictures)
        assert record is not None, "waited for"
        return record

    def _score(self, run: Run, wait: bool, pictures: int) -> RunRecord | None:
        store = self.workspace.store(*sampling_of(read_header(run)))
        with run.claimed(wait) as mine, self.time.on("scoring", store):
            if not mine:
                return None
            rescore = self.rescore and run not in self._scored_here
            record = score_run(run, self.workspace, self.thresholds, pictures, rescore)
            self._scored_here.add(run)
        return record


@contextmanager
def _naming(left_out: list[str]) -> Iterator[None]:
    """Note what cannot be done, and go on with the rest."""
    try:
        yield
    except BTPError as error:
        left_out.append(str(error))
