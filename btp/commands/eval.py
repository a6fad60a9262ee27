"""Score runs on the categories they have not seen, and print tables: `btp eval`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import (
    plan_from,
    recipe_of,
    script,
    typed,
    whole,
    whole_or_none,
    workspace_from,
)
from btp.errors import DataError
from btp.experiments.campaign import Campaign
from btp.experiments.protocol import (
    FIRST_SEED,
    TABLES,
    TRAINED_VARIANTS,
    Plan,
    check_table,
    seeds_from,
    train_categories,
)
from btp.experiments.runs import Run, find_runs
from btp.experiments.scored_scans import score_again
from btp.recipe import Recipe
from btp.report.gallery import draw_gallery, shown_methods
from btp.report.provenance import parse
from btp.report.sections import Request, Section, section_of_one, sections_of
from btp.report.speed import read_speed
from btp.report.summary import explain_in, printed, write_report


@script("eval")
def main(config: DictConfig) -> None:
    request = request_from(config)  # what is wrong with it is said before anything is read
    workspace = workspace_from(config, trains=config.run_missing)
    request = replace(
        request,
        dataset=workspace.dataset.name,
        encoder=workspace.encoder,
        categories=workspace.dataset.categories,
        commands=workspace.commands,
        speed=read_speed(workspace.outputs, workspace.encoder),
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
        show(campaign, [part], ("all",), run.folder / "report", [run])
        return
    if config.run_missing or typed("recipe"):  # else every recipe that there are runs of
        request = replace(request, wanted=plan_from(config, workspace))
    if request.wanted and config.run_missing:
        variants = TRAINED_VARIANTS if "4" in request.numbers else ("full",)
        recipes = {variant: recipe_of(config, variant) for variant in variants}
        seeds = request.seeds or seeds_from(1)
        campaign.complete(request.numbers, request.wanted, recipes, seeds)
    sections, unused = sections_of(campaign.records(), request)
    campaign.left_out += unused
    if not sections:
        nothing(campaign, request)
    if config.explain is not None:
        print(explain_in(sections, str(config.explain)))
        return
    report, drawn = workspace.runs_folder / "report", []
    for part in sections if config.figures else ():
        shown = shown_methods(part.evidence)
        scores = {title: score_again(record, workspace) for title, record in shown.items()}
        folder = report / part.evidence.recipe.name
        drawn += draw_gallery(folder, part.evidence, workspace.dataset, scores)
    wanted = ("all", *request.numbers) if config.table is None else request.numbers
    runs = find_runs(workspace.outputs, workspace.dataset.name, workspace.encoder)
    show(campaign, sections, wanted, report, runs, drawn)
    if config.run_missing and any(part.gaps for part in sections):
        raise SystemExit(1)


def request_from(config: DictConfig) -> Request:
    """Return what the command line asks for, without what only the dataset knows."""
    if config.explain is not None:
        parse(str(config.explain))
    return Request(
        numbers=TABLES if config.table is None else check_table(str(config.table)),
        seeds=None if config.seeds is None else seeds_from(whole(config, "seeds")),
        n_points=whole(config, "n_points"),
        pro=config.pro,
    )


def nothing(campaign: Campaign, request: Request) -> None:
    """Say that there is no run, and how to make one."""
    for remark in campaign.left_out:
        print(f"left out: {remark}", file=sys.stderr)
    some = train_categories(request.dataset, request.categories)[:1]
    plan = Plan(request.dataset, "".join(some), FIRST_SEED, Recipe(), request.n_points)
    raise DataError(
        f"{campaign.workspace.runs_folder}: no finished run to score; train one: "
        f"{request.commands.train(plan)}, or all that the tables need: "
        f"{request.commands.complete('all', plan)}"
    )


def show(
    campaign: Campaign,
    sections: Sequence[Section],
    numbers: Sequence[str],
    folder: Path,
    runs: Sequence[Run],
    drawn: Sequence[Path] = (),
) -> None:
    """Write the report, print the chosen tables, and what is missing or was left out."""
    paths = write_report(folder, sections, campaign.left_out)
    print(printed(sections, numbers), end="\n\n")
    for remark in campaign.left_out:
        print(f"left out: {remark}", file=sys.stderr)
    pictures = [run.pictures_path(campaign.workspace.dataset.name) for run in runs]
    for path in [*paths, *drawn, *(path for path in pictures if path.is_file())]:
        print(path)
