"""Score runs on the categories they have not seen, and print tables: `btp eval`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import script, typed, whole, whole_or_none
from btp.commands.workspace import (
    commands_from,
    encoder_from,
    on_disk,
    plan_from,
    recipe_of,
    workspace_from,
)
from btp.data.catalog import known_categories
from btp.experiments.campaign import Campaign
from btp.experiments.memory_options import MemoryOptions, check_radii
from btp.experiments.protocol import TABLES, TRAINED_VARIANTS, check_table, seeds_from
from btp.experiments.runs import Run, find_runs, read_records
from btp.experiments.scored_scans import score_again
from btp.experiments.workspace import Workspace
from btp.geometry.registration import require_open3d
from btp.report.gallery import draw_gallery, shown_methods
from btp.report.provenance import parse
from btp.report.request import Request
from btp.report.sections import Section, section_of_one, sections_of
from btp.report.speed import read_speed
from btp.report.summary import explain_in, printed, write_report


@script("eval")
def main(config: DictConfig) -> None:
    request = request_from(config)  # what is wrong with it is said before anything is read
    if config.run_missing and request.memories.registration == "open3d":
        require_open3d()
    if not config.run_missing and config.run is None:
        dataset, missing = on_disk(config)
        name = config.dataset.name if dataset is None else dataset.name
        known = known_categories(name) if dataset is None else dataset.categories
        runs = find_runs(config.outputs, name, request.encoder)
        if (missing and known) or not runs:  # nothing can or need be scored
            request = replace(request, dataset=name, categories=known)
            from_records(config, request, missing)
            return
    workspace = workspace_from(config, trains=config.run_missing)
    request = replace(
        request, dataset=workspace.dataset.name, categories=workspace.dataset.categories
    )
    campaign = Campaign(
        workspace,
        whole_or_none(config, "thresholds", 2),
        whole(config, "pictures", 0),
        config.rescore,
        say=lambda line: print(line, flush=True),
    )
    if config.run is not None:  # it may have been trained on another dataset
        run = Run(Path(config.run))
        part = section_of_one(campaign.record_of(run), request)
        show([part], campaign.left_out, ("all",), run.folder / "report")
        list_pictures([run], request.dataset)
        return
    if config.run_missing:
        request = replace(request, wanted=plan_from(config, request.dataset))
        complete(campaign, request, config)
    sections, unused = sections_of(campaign.records(), request)
    left_out = [*campaign.left_out, *unused]
    if config.explain is not None:
        print(explain_in(sections, str(config.explain)))
        return
    report = workspace.runs_folder / "report"
    drawn = draw(sections, workspace, report) if config.figures else []
    show(sections, left_out, tables_from(config, request), report, drawn)
    list_pictures(find_runs(workspace.outputs, request.dataset, request.encoder), request.dataset)
    if config.run_missing and any(part.gaps for part in sections):
        raise SystemExit(1)


def request_from(config: DictConfig) -> Request:
    """Return what the command line asks for, without what only the dataset knows."""
    if config.explain is not None:
        parse(str(config.explain))
    encoder = encoder_from(config).name
    return Request(
        encoder=encoder,
        numbers=TABLES if config.table is None else check_table(str(config.table)),
        seeds=None if config.seeds is None else seeds_from(whole(config, "seeds")),
        n_points=whole(config, "n_points"),
        wanted=plan_from(config, config.dataset.name) if typed("recipe") else None,
        pro=config.pro,
        memories=MemoryOptions(check_radii(config.fpfh_radii), config.registration),
        commands=commands_from(config),
        speed=read_speed(Path(config.outputs), encoder),
    )


def tables_from(config: DictConfig, request: Request) -> Sequence[str]:
    """Return which tables are printed: with none chosen, all, and every metric."""
    return ("all", *request.numbers) if config.table is None else request.numbers


def from_records(config: DictConfig, request: Request, missing: Sequence[str]) -> None:
    """Print what records and the paper tell, where nothing can be scored, and how to go on."""
    where = config.outputs, request.dataset, request.encoder
    records, left_out = read_records(*where)
    sections, unused = sections_of(records, request)
    if config.explain is not None:
        print(explain_in(sections, str(config.explain)))
        return
    folder = Path(*where) / "report"
    show(sections, [*left_out, *unused], tables_from(config, request), folder)
    for line in missing:
        print(f"not here: {line}")


def complete(campaign: Campaign, request: Request, config: DictConfig) -> None:
    """Train and score what the tables lack."""
    assert request.wanted is not None, "run_missing wants a recipe"
    variants = TRAINED_VARIANTS if "4" in request.numbers else ("full",)
    recipes = {variant: recipe_of(config, variant) for variant in variants}
    seeds = request.seeds or seeds_from(1)
    campaign.complete(request.numbers, request.wanted, recipes, seeds, request.memories)


def draw(sections: Iterable[Section], workspace: Workspace, report: Path) -> list[Path]:
    """Score what is drawn of each recipe once more, and draw it."""
    drawn = []
    for part in sections:
        shown = shown_methods(part.evidence)
        scores = {title: score_again(record, workspace) for title, record in shown.items()}
        folder = report / part.evidence.recipe.name
        drawn += draw_gallery(folder, part.evidence, workspace.dataset, scores)
    return drawn


def show(
    sections: Sequence[Section],
    left_out: Sequence[str],
    numbers: Sequence[str],
    folder: Path,
    drawn: Sequence[Path] = (),
) -> None:
    """Write the report, print the chosen tables, and what is missing or was left out."""
    anything = any(part.tables for part in sections)
    paths = write_report(folder, sections, left_out) if anything else []
    print(printed(sections, numbers), end="\n\n")
    for remark in left_out:
        print(f"left out: {remark}", file=sys.stderr)
    for path in [*paths, *drawn]:
        print(path)


def list_pictures(runs: Iterable[Run], dataset: str) -> None:
    """Print the paths of the pictures that scoring drew."""
    for path in (run.pictures_path(dataset) for run in runs):
        if path.is_file():
            print(path)
