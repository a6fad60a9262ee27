"""Records sorted into the sections of a report: one for each recipe, never mixing settings."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from btp.errors import ConfigError
from btp.experiments.baselines import BASELINES
from btp.experiments.protocol import FIRST_SEED, TABLES, Plan, seeds_from
from btp.experiments.record import RunRecord
from btp.experiments.workspace import Commands
from btp.recipe import Recipe
from btp.report.evidence import Evidence
from btp.report.paper_tables import tables_of
from btp.report.speed import Speed
from btp.report.tables import Pro, Table, every_metric
from btp.types import N_POINTS

# Records are averaged only if they agree in all of these.
SETTINGS = (
    "recipe",
    "n_points",
    "sampling_seed",
    "encoder_fingerprint",
    "text_fingerprint",
    "heads_digest",
    "bfloat16",
    "thresholds",
    "scans",
)
# Those of them that a baseline must share with the runs that it stands beside.
BASELINE_SETTINGS = ("recipe", "encoder_fingerprint", "text_fingerprint", "thresholds", "scans")


@dataclass(frozen=True)
class Section:
    """The part of a report on one recipe.

    Attributes:
        evidence: its records.
        tables: the paper's that the records allow, then every metric.
        gaps: what each of Tables 1-5 lacks, and the commands that make it.
    """

    evidence: Evidence
    tables: Sequence[Table]
    gaps: Sequence[str]

    @property
    def title(self) -> str:
        """Heading of the section."""
        e = self.evidence
        return f"{e.dataset}, encoder {e.encoder}, recipe {e.recipe.name}"


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
    commands: Commands = field(default_factory=Commands)
    speed: Speed = field(default_factory=Speed)

    @property
    def wanted_recipe(self) -> Recipe:
        """The recipe that is planned for where there are no runs."""
        return Recipe() if self.wanted is None else self.wanted.recipe

    def __post_init__(self) -> None:
        if self.pro not in (None, *get_args(Pro)):
            raise ConfigError(f"pro is {self.pro!r}; expected {' or '.join(get_args(Pro))}")


def sections_of(records: Sequence[RunRecord], request: Request) -> tuple[list[Section], list[str]]:
    """Make a section for each recipe that there are runs of, or for the wanted one.

    Without runs there is one section, of the quoted numbers and the commands that make ours.

    Args:
        records: of runs and baselines, whatever their settings.
        request: what is asked for.

    Returns:
        The sections, and a remark on each record that should be in one and cannot be used.
    """
    sections, left_out = [], []
    runs = [record for record in records if record.baseline is None]
    baselines = [record for record in records if record.baseline is not None]
    for group in by_recipe(runs).values():
        used, remarks = agreeing(group)
        left_out += remarks
        first = used[0]
        wanted = request.wanted
        chosen = _full_recipe(used).name, first.sampling_seed
        if wanted and chosen != (wanted.recipe.name, wanted.sampling_seed):
            continue
        seeds = request.seeds or sorted({run.seed for run in used})
        beside, remarks = _baselines_beside(used, baselines, seeds, request.n_points)
        left_out += remarks
        sections.append(section(_evidence(request, seeds, used, beside), request))
    return sections or [_without_runs(request)], left_out


def _without_runs(request: Request) -> Section:
    """What can be said before anything was run: the paper's numbers, and the commands."""
    seeds = request.seeds or seeds_from(1)
    return section(_evidence(request, seeds, [], {}), request)


def section_of_one(run: RunRecord, request: Request) -> Section:
    """Make the section of a single run: every metric, and none of the paper's tables."""
    request = replace(request, n_points=run.n_points, numbers=())
    part = section(_evidence(request, [run.seed], [run], {}), request)
    return replace(part, tables=[table for table in part.tables if table.number == "all"])


def _evidence(
    request: Request,
    seeds: Sequence[int],
    runs: Sequence[RunRecord],
    baselines: dict[str, list[RunRecord]],
) -> Evidence:
    recipe = _full_recipe(runs) if runs else request.wanted_recipe
    usual: Pro = "coverage" if recipe.name.partition(",")[0] == "paper" else "standard"
    return Evidence(
        dataset=request.dataset,
        encoder=request.encoder,
        recipe=recipe,
        categories=request.categories,
        seeds=seeds,
        runs=runs,
        baselines=baselines,
        n_points=request.n_points,
        pro=request.pro or usual,
        speed=request.speed,
    )


def _full_recipe(runs: Sequence[RunRecord]) -> Recipe:
    """The full recipe of runs that are its variants."""
    recipe = min(runs, key=lambda run: run.variant != "full").recipe
    assert recipe is not None, "runs have one"
    return recipe


def by_recipe(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Sort runs by their recipe's name, variants and numbers of points together."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        sampling = f",sampling_seed={run.sampling_seed}" if run.sampling_seed else ""
        groups[run.recipe_name + sampling].append(run)
    return dict(sorted(groups.items()))


def agreeing(runs: Iterable[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Refuse to average what was made with different settings.

    Of the runs of one variant and number of points, those with the most frequent settings are kept.

    Returns:
        The runs to use, and a remark on each that is left out.
    """
    used, left_out = [], []
    for group in by_variant(runs).values():
        common = json.loads(Counter(map(_as_text, group)).most_common(1)[0][0])
        for run in group:
            differences = _differences(_settings(run), common)
            if differences:
                left_out.append(
                    f"{run.folder}: {differences} as in the other runs of this name; never in one "
                    "mean with them"
                )
            else:
                used.append(run)
    return used, left_out


def by_variant(runs: Iterable[RunRecord]) -> dict[tuple[str, int], list[RunRecord]]:
    """Sort runs by variant and number of points."""
    groups: dict[tuple[str, int], list[RunRecord]] = defaultdict(list)
    for run in runs:
        groups[run.variant, run.n_points].append(run)
    return groups


def _settings(record: RunRecord) -> dict[str, Any]:
    """The settings that must agree, as JSON has them."""
    values = record.as_dict()
    return dict(json.loads(json.dumps({name: values[name] for name in SETTINGS})))


def _as_text(record: RunRecord) -> str:
    return json.dumps(_settings(record), sort_keys=True)


def _differences(found: dict[str, Any], common: dict[str, Any]) -> str:
    """How a record's settings differ from the common ones; "" where they agree."""
    parts = []
    for name, theirs in common.items():
        ours = found[name]
        if ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key) != theirs.get(key):
                    parts.append(f"{name}.{key} is {ours.get(key)}, not {theirs.get(key)}")
        else:
            parts.append(f"{name} is {ours}, not {theirs}")
    return "; ".join(parts)


def _baselines_beside(
    runs: Sequence[RunRecord],
    baselines: Sequence[RunRecord],
    seeds: Sequence[int],
    n_points: int,
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """The baselines that stand beside a recipe's runs, and a remark on each that should and cannot.

    A trained baseline has the seeds of the runs, any other the first of its own.
    """
    recipe = _full_recipe(runs)
    run = next((run for run in runs if run.n_points == n_points), runs[0])
    common = {name: _settings(run)[name] for name in BASELINE_SETTINGS}
    common["recipe"] = json.loads(json.dumps(recipe.flat()))
    beside: dict[str, list[RunRecord]] = defaultdict(list)
    left_out = []
    for record in sorted(baselines, key=lambda record: record.seed):
        name = record.baseline or ""
        of_recipe = record.recipe is None or record.recipe.name == recipe.name
        sampling = record.n_points, record.sampling_seed
        if not of_recipe or sampling != (n_points, run.sampling_seed):
            continue  # of another section
        compared = dict(common)
        if record.recipe is None:  # memories follow no recipe and read no text
            del compared["recipe"], compared["text_fingerprint"]
        elif "unknown" in (run.text_fingerprint, record.text_fingerprint):
            del compared["text_fingerprint"]
        differences = _differences(_settings(record), compared)
        if differences:
            left_out.append(f"{record.folder}: {differences} as in the runs; not beside them")
        elif not BASELINES[name].needs_training:
            beside[name] = beside[name] or [record]
        elif record.seed in seeds:
            beside[name].append(record)
    return dict(beside), left_out


def section(evidence: Evidence, request: Request) -> Section:
    """Make all tables of one recipe.

    Args:
        evidence: its records.
        request: which tables' gaps are of interest, and the commands that complete them.
    """
    full = evidence.of(evidence.categories)
    groups = by_variant(full or evidence.runs).values()
    detailed = [every_metric(group, group[0].title, evidence.pro) for group in groups]
    tables = [*tables_of(evidence, TABLES), *detailed]
    return Section(evidence, tables, _gaps(evidence, request))


def _gaps(evidence: Evidence, request: Request) -> list[str]:
    """What tables lack, and the commands that make it."""
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
