"""Where runs are made: one dataset, one encoder, their features, and the folder of all runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from btp.data.dataset import Dataset
from btp.experiments.baselines import BaselinePlan
from btp.experiments.protocol import FIRST_SEED, Plan
from btp.experiments.runs import Run
from btp.features.cache import CachedStore
from btp.features.store import DiskStore
from btp.models.point_language import PointLanguageModel
from btp.runtime.own_files import command_line
from btp.types import N_POINTS


@dataclass(frozen=True)
class Commands:
    """Writes the command lines that make runs, from the settings of the one that was typed.

    Attributes:
        data: settings that choose dataset, encoder, folders and device.
        recipe: settings that choose the recipe.
    """

    data: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()

    def train(self, plan: Plan, recipe: Sequence[str] | None = None) -> str:
        """Return the one command line that trains a planned run, whoever planned it.

        Args:
            plan: the run.
            recipe: settings that choose the recipe; None for those that were typed.
        """
        words = self.recipe if recipe is None else recipe
        chosen = [f"train_cat={plan.train_cat}", f"seed={plan.seed}"]
        return command_line("train", *self.data, *words, *_unusual(plan), *chosen)

    def complete(
        self, table: str, plan: Plan, seeds: int = 1, recipe: Sequence[str] | None = None
    ) -> str:
        """Return the command line that makes what a table lacks.

        Args:
            table: one of the tables, or "all".
            plan: with the sampling of the runs.
            seeds: how many.
            recipe: settings that choose the recipe; None for those that were typed.
        """
        chosen = self.recipe if recipe is None else recipe
        many = [f"seeds={seeds}"] if seeds > 1 else []
        settings = (*_unusual(plan), f"table={table}", "run_missing=true", *many)
        return command_line("eval", *self.data, *chosen, *settings)

    def baseline(self, plan: BaselinePlan) -> str:
        """Return the command line that scores a baseline, among others."""
        command = self.complete("3", plan.settings, plan.settings.seed - FIRST_SEED + 1)
        return " ".join([command, *map(shlex.quote, plan.options.words)])

    def evaluate(self) -> str:
        """Return the command line that scores what there is."""
        return command_line("eval", *self.data)


@dataclass(frozen=True)
class Workspace:
    """All that runs of one dataset with one encoder are made from, and where they are kept.

    Attributes:
        dataset: trained on and scored.
        model: the encoder.
        features: folder of the feature store.
        outputs: folder of all runs.
        dataset_settings: what the dataset was opened with, for the detectors' files.
        commands: that repeat the runs.
    """

    dataset: Dataset
    model: PointLanguageModel
    features: Path
    outputs: Path
    dataset_settings: Mapping[str, Any] = field(default_factory=dict)
    commands: Commands = field(default_factory=Commands)
    _stores: dict[tuple[int, int], CachedStore] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return self.model.config.name

    @cached_property
    def scans(self) -> str:
        """Fingerprint of the scans that are scored; every file is looked at once a workspace."""
        return self.dataset.fingerprint()

    @cached_property
    def problems(self) -> str:
        """What the dataset lacks on disk, "" for nothing; looked for once a workspace."""
        return self.dataset.problems()

    @property
    def runs_folder(self) -> Path:
        """Folder of the runs of this dataset and encoder."""
        return self.outputs / self.dataset.name / self.encoder

    def run(self, plan: Plan | BaselinePlan) -> Run:
        """Return a planned run, whether or not its folder exists yet."""
        return plan.run(self.outputs, self.encoder)

    def store(self, n_points: int = N_POINTS, sampling_seed: int = 0) -> CachedStore:
        """Return the features of scans sampled so; what was loaded of another sampling is let go.

        Raises:
            ConfigError: if the encoder makes more patches than there are points.
        """
        key = n_points, sampling_seed
        if key not in self._stores:
            store = CachedStore(DiskStore(self.features, self.model, *key))
            self._stores.clear()
            self._stores[key] = store
        return self._stores[key]


def _unusual(plan: Plan) -> list[str]:
    return [f"{name}={value}" for name, value in plan.unusual.items()]
