"""Records sorted into the sections of a report: one for each recipe, never mixing settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from btp.experiments.baselines import BASELINES
from btp.experiments.memory_options import MemoryOptions
from btp.experiments.protocol import TABLES, seeds_from
from btp.experiments.record import RunRecord
from btp.report.agreement import agreeing, baselines_beside, by_recipe, by_variant, full_recipe
from btp.report.evidence import Evidence
from btp.report.paper_tables import tables_of
from btp.report.request import Request, gaps_of
from btp.report.tables import Pro, Table, every_metric


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
    chosen_baselines = [each for each in baselines if _has_options(each, request.memories)]
    for group in by_recipe(runs).values():
        used, remarks = agreeing(group)
        left_out += remarks
        first = used[0]
        wanted = request.wanted
        chosen = full_recipe(used).name, first.sampling_seed
        if wanted and chosen != (wanted.recipe.name, wanted.sampling_seed):
            continue
        seeds = request.seeds or sorted({run.seed for run in used})
        beside, remarks = baselines_beside(used, chosen_baselines, seeds, request.n_points)
        left_out += remarks
        sections.append(section(_evidence(request, seeds, used, beside), request))
    return sections or [_without_runs(request)], left_out


def _has_options(record: RunRecord, wanted: MemoryOptions) -> bool:
    """Whether a baseline was measured with the wanted options, as far as it depends on them."""
    assert record.baseline is not None, "a baseline's"
    found = MemoryOptions(record.fpfh_radii, record.registration)
    return found == BASELINES[record.baseline].options(wanted)


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
    recipe = full_recipe(runs) if runs else request.wanted_recipe
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
        memories=request.memories,
    )


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
    return Section(evidence, tables, gaps_of(evidence, request))
