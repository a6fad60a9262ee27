"""Results sorted into the sections of a report: one for each recipe, never mixing settings."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from btp.config import build
from btp.experiments.baseline_runs import BaselinePlan, plan_baselines
from btp.experiments.protocol import TABLES, Plan
from btp.experiments.record import Result
from btp.experiments.score_run import title_of
from btp.recipe import Recipe
from btp.report.evidence import Evidence
from btp.report.paper_tables import tables_of
from btp.report.tables import Table, every_metric

# Results are averaged only if they agree in all of these.
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


@dataclass(frozen=True)
class Section:
    """The part of a report on one recipe.

    Attributes:
        evidence: its results.
        tables: every metric first, then the paper's tables that the results allow.
        gaps: what each of Tables 1-5 lacks, and the command that makes it.
    """

    evidence: Evidence
    tables: Sequence[Table]
    gaps: Sequence[str]

    @property
    def title(self) -> str:
        """Above it."""
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
        data_settings: of the command line, for the commands that complete a table.
    """

    dataset: str
    encoder: str
    categories: Sequence[str]
    n_points: int
    numbers: Sequence[str] = TABLES
    seeds: Sequence[int] | None = None
    wanted: Plan | None = None
    data_settings: str = ""


def sections_of(
    results: Sequence[Result],
    request: Request,
    baselines: Callable[[Sequence[BaselinePlan]], Sequence[Result]],
) -> tuple[list[Section], list[str]]:
    """A section for each recipe that there are results of, or for the wanted one.

    Args:
        results: of runs, whatever their settings.
        request: what is asked for.
        baselines: gives the results that there are of some baselines.

    Returns:
        The sections, and a remark on each result that no section uses.
    """
    sections, left_out = [], []
    for group in by_recipe(results).values():
        used, remarks = agreeing(group)
        left_out += remarks
        recipe = _full_recipe(used)
        sampling = int(used[0].about["sampling_seed"])
        wanted = request.wanted
        if wanted and (recipe.name, sampling) != (wanted.recipe.name, wanted.sampling_seed):
            continue
        seeds = request.seeds or sorted({result.seed for result in used})
        base = Plan(request.dataset, "", 0, recipe, request.n_points, sampling)
        others: dict[str, list[Result]] = defaultdict(list)
        for result in baselines(plan_baselines(TABLES, base, request.categories, seeds)):
            others[str(result.about["baseline"])].append(result)
        evidence = _evidence(request, recipe, seeds, used, others)
        sections.append(section(evidence, request.data_settings, request.numbers))
    return sections, left_out


def section_of_one(result: Result, request: Request) -> Section:
    """Every metric of a single run, and none of the paper's tables."""
    request = replace(request, n_points=result.n_points)
    evidence = _evidence(request, _full_recipe([result]), [result.seed], [result], {})
    part = section(evidence, request.data_settings, ())
    return replace(part, tables=[table for table in part.tables if table.number == "all"])


def _evidence(
    request: Request,
    recipe: Recipe,
    seeds: Sequence[int],
    results: Sequence[Result],
    baselines: dict[str, list[Result]],
) -> Evidence:
    return Evidence(
        dataset=request.dataset,
        encoder=request.encoder,
        recipe=recipe,
        categories=request.categories,
        seeds=seeds,
        results=results,
        baselines=baselines,
        n_points=request.n_points,
    )


def _full_recipe(results: Sequence[Result]) -> Recipe:
    """The full recipe of runs that are its variants."""
    best = min(results, key=lambda result: result.variant != "full")
    return build(Recipe, dict(best.about["recipe"]), f"{best.folder}: recipe")


def by_recipe(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by their recipe's name, variants and numbers of points together."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        sampling = result.about.get("sampling_seed", 0)
        marks = f",sampling_seed={sampling}" if sampling else ""
        groups[result.about["recipe"]["name"] + marks].append(result)
    return dict(sorted(groups.items()))


def agreeing(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Refuse to average what was made with different settings.

    Of the runs of one variant and number of points, those with the most frequent settings are kept.

    Returns:
        The results to use, and a remark on each that is left out.
    """
    groups: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.variant, result.n_points].append(result)
    used, left_out = [], []
    for group in groups.values():
        common = Counter(map(_settings, group)).most_common(1)[0][0]
        for result in group:
            if _settings(result) == common:
                used.append(result)
            else:
                left_out.append(f"{result.folder}: {_differences(result, common)}")
    return used, left_out


def _settings(result: Result) -> str:
    return json.dumps([result.about.get(name) for name in SETTINGS], sort_keys=True)


def _differences(result: Result, common: str) -> str:
    """How a result's settings differ from the others' of its name."""
    parts = []
    for name, theirs in zip(SETTINGS, json.loads(common), strict=True):
        ours = json.loads(json.dumps(result.about.get(name)))
        if ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key) != theirs.get(key):
                    parts.append(f"{name}.{key} is {ours.get(key)}, not {theirs.get(key)}")
        else:
            parts.append(f"{name} is {ours}, not {theirs}")
    return "; ".join(parts) + " as in the other runs of this name; never in one mean with them"


def section(evidence: Evidence, data_settings: str, numbers: Sequence[str]) -> Section:
    """All tables of one recipe.

    Args:
        evidence: its results.
        data_settings: of the command line, for the commands that complete a table.
        numbers: of the tables whose gaps are of interest.
    """
    full = evidence.of(evidence.categories)
    groups: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in full or evidence.results:
        groups[result.variant, result.n_points].append(result)
    detailed = []
    for group in groups.values():
        trained = ", ".join(sorted({str(r.train_cat) for r in group}))
        table = every_metric(group, title_of(group[0].about), group[0].about["recipe"]["pro"])
        note = f"Trained on {trained}; {len(group)} {'runs' if len(group) > 1 else 'run'}."
        detailed.append(replace(table, notes=[note, *table.notes]))
    tables = [*detailed, *tables_of(evidence, TABLES)]
    return Section(evidence, tables, _gaps(evidence, data_settings, numbers))


def _gaps(evidence: Evidence, data_settings: str, numbers: Sequence[str]) -> list[str]:
    """What tables lack, and the one command that makes it."""
    gaps = {number: evidence.gaps(number) for number in numbers}
    lacking = {number: gap for number, gap in gaps.items() if gap[0]}
    if not lacking:
        return []
    lines = [f"Table {n}: {gap[0]} of {gap[1]} runs missing" for n, gap in lacking.items()]
    seeds = f"seeds={len(evidence.seeds)}" if len(evidence.seeds) > 1 else ""
    table = f"table={'all' if len(lacking) > 1 else next(iter(lacking))} run_missing=true"
    settings = filter(None, [data_settings, _recipe_settings(evidence), table, seeds])
    one = f" (one of them: table={next(iter(lacking))})" if len(lacking) > 1 else ""
    return [*lines, f"made by{one}: python scripts/eval.py {' '.join(settings)}"]


def _recipe_settings(evidence: Evidence) -> str:
    """The recipe's part of the commands that made its results."""
    for result in evidence.results:
        words = shlex.split(str(result.about.get("command", "")))
        settings = [word for word in words if word.lstrip("+").startswith("recipe")]
        if settings:
            return shlex.join(settings)
    return f"recipe={evidence.recipe.name}"
