"""What a report is asked to be about, and the commands that make what it lacks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from btp.errors import ConfigError
from btp.experiments.memory_options import USUAL, MemoryOptions
from btp.experiments.protocol import FIRST_SEED, TABLES, Plan
from btp.experiments.workspace import Commands
from btp.recipe import Recipe
from btp.report.evidence import Evidence
from btp.report.speed import Speed
from btp.report.tables import Pro
from btp.types import N_POINTS


@dataclass(frozen=True)
class Request:
    """What a report is asked to be about.

    Attributes:
        dataset: its name.
        encoder: its name.
        categories: of the dataset.
        n_points: of Tables 1-4.
        numbers: of the tables whose gaps are of interest.
        seeds: that the tables are planned for; None for those that there are.
        wanted: settings whose recipe alone is of interest; None for every recipe.
        memories: options of the memories among the baselines that are shown.
        pro: the figure that is printed as P-PRO (D4); None for the paper's coverage AUC with
            recipe paper, and standard AU-PRO with any other.
        commands: that complete a table.
        speed: of the encoder.
    """

    dataset: str = ""
    encoder: str = ""
    categories: Sequence[str] = ()
    n_points: int = N_POINTS
    numbers: Sequence[str] = TABLES
    seeds: Sequence[int] | None = None
    wanted: Plan | None = None
    pro: Pro | None = None
    memories: MemoryOptions = USUAL
    commands: Commands = field(default_factory=Commands)
    speed: Speed = field(default_factory=Speed)

    @property
    def wanted_recipe(self) -> Recipe:
        """The recipe that is planned for where there are no runs."""
        return Recipe() if self.wanted is None else self.wanted.recipe

    def __post_init__(self) -> None:
        if self.pro not in (None, *get_args(Pro)):
            raise ConfigError(f"pro is {self.pro!r}; expected {' or '.join(get_args(Pro))}")


def gaps_of(evidence: Evidence, request: Request) -> list[str]:
    """Say what tables lack, and give the commands that make it."""
    gaps = {number: evidence.gaps(number) for number in request.numbers}
    lacking = {number: gap for number, gap in gaps.items() if gap[0]}
    if not lacking:
        return []
    lines = [f"Table {n}: {gap[0]} of {gap[1]} runs missing" for n, gap in lacking.items()]
    plan = _plan(evidence, request)
    words = _recipe_words(evidence, request)
    if not evidence.runs:
        lines.append(f"one training: {request.commands.train(plan, words)}")
    commands = {
        table: request.commands.complete(table, plan, len(evidence.seeds), words)
        for table in (next(iter(lacking)), "all")
    }
    first, everything = commands.values()
    if len(lacking) == 1:
        return [*lines, f"made by: {first}"]
    time = ", in some minutes" if evidence.dataset == "demo" else ""
    return [*lines, f"the first of them{time}: {first}", f"all of them: {everything}"]


def _plan(evidence: Evidence, request: Request) -> Plan:
    """A run of those that a recipe's tables need, with the sampling of those that there are."""
    seed = evidence.runs[0].sampling_seed if evidence.runs else 0
    if not evidence.runs and request.wanted is not None:
        seed = request.wanted.sampling_seed
    some = evidence.train_cats or tuple(evidence.categories) or ("...",)
    return Plan(evidence.dataset, some[0], FIRST_SEED, evidence.recipe, evidence.n_points, seed)


def _recipe_words(evidence: Evidence, request: Request) -> Sequence[str]:
    """The recipe's part of the commands that made its runs, or else of what was typed."""
    for run in evidence.runs:
        words = shlex.split(run.command)
        settings = [word for word in words if word.lstrip("+").startswith("recipe")]
        if settings:
            return settings
    if not evidence.runs and request.commands.recipe:
        return request.commands.recipe
    return [f"recipe={evidence.recipe.name}"]
