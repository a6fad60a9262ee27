"""Score runs on the categories they have not seen, and print tables: `python scripts/eval.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from _paths import take_paths_as_typed
from _session import (
    dataset_from,
    dataset_settings,
    eval_command,
    model_from,
    plan_from,
    recipe_of,
    same_data,
    script,
    train_command,
    typed,
    whole,
)
from omegaconf import DictConfig

from btp.errors import DataError
from btp.experiments.campaign import Campaign
from btp.experiments.protocol import (
    TABLES,
    TRAINED_VARIANTS,
    check_table,
    seeds_from,
    train_categories,
)
from btp.experiments.runs import Run, find_runs
from btp.report.gallery import draw_galleries
from btp.report.provenance import parse
from btp.report.sections import Request, Section, section_of_one, sections_of
from btp.report.summary import explain_in, printed, write_report


@script("eval")
def main(config: DictConfig) -> None:
    numbers = TABLES if config.table is None else check_table(str(config.table))
    if config.explain is not None:
        parse(str(config.explain))  # before anything is scored
    seeds = None if config.seeds is None else seeds_from(whole(config, "seeds"))
    dataset, model = dataset_from(config), model_from(config)
    campaign = Campaign(
        dataset,
        model,
        Path(config.store),
        config.outputs,
        config.thresholds,
        whole(config, "pictures"),
        config.rescore,
        say=lambda line: print(line, flush=True),
    )
    names = dataset.name, model.config.name
    request = Request(*names, dataset.categories, whole(config, "n_points"), numbers, seeds)
    if config.run is not None:  # it may have been trained on another dataset
        run = Run(Path(config.run))
        part = section_of_one(campaign.result_of(run), request)
        _show(campaign, [part], ("all",), run.folder / "report", [run])
        return
    wanted = None  # every recipe that there are runs of
    if config.run_missing or typed("recipe"):
        wanted = plan_from(config, dataset, recipe_of())
    if wanted is not None and config.run_missing:
        variants = TRAINED_VARIANTS if "4" in numbers else ("full",)
        recipes = {variant: recipe_of(variant) for variant in variants}
        planned = seeds or seeds_from(1)
        commands = train_command, eval_command(len(planned))
        campaign.complete(numbers, wanted, recipes, planned, commands, dataset_settings(config))
    runs = find_runs(config.outputs, *names)
    request = replace(request, wanted=wanted, data_settings=same_data())
    sections, unused = sections_of(campaign.score(runs), request, campaign.stored_baselines)
    campaign.left_out += unused
    folder = Path(config.outputs, *names)
    if not sections:
        _nothing(campaign, folder)
    if config.explain is not None:
        print(explain_in(sections, str(config.explain)))
        return
    report, drawn = folder / "report", []
    if config.figures:
        drawn = draw_galleries(sections, dataset, campaign.store, report)
    shown = ("all", *numbers) if config.table is None else numbers
    _show(campaign, sections, shown, report, runs, drawn)
    if config.run_missing and any(part.gaps for part in sections):
        raise SystemExit(1)


def _nothing(campaign: Campaign, folder: Path) -> None:
    for remark in campaign.left_out:
        print(f"left out: {remark}", file=sys.stderr)
    train_cat = train_categories(campaign.dataset.name, campaign.dataset.categories)[:1]
    raise DataError(
        f"{folder}: no finished run to score; train one: python scripts/train.py "
        f"{same_data()} train_cat={', '.join(train_cat)}, or all that the tables need: python "
        f"scripts/eval.py {same_data()} table=all run_missing=true"
    )


def _show(
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
    pictures = [run.pictures_path(campaign.dataset.name) for run in runs]
    for path in [*paths, *drawn, *(path for path in pictures if path.is_file())]:
        print(path)


if __name__ == "__main__":
    take_paths_as_typed("explain", "run")
    main()
