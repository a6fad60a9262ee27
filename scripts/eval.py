"""Score runs on the categories they have not seen, and print tables: `python scripts/eval.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from btp.campaign import Campaign
from btp.config import build
from btp.errors import DataError
from btp.protocol import (
    TABLES,
    TRAINED_VARIANTS,
    Plan,
    check_table,
    plan_tables,
    seeds_from,
    train_categories,
)
from btp.recipe import Recipe
from btp.report.baseline_runs import plan_baselines
from btp.report.evidence import Evidence
from btp.report.gallery import draw_gallery
from btp.report.provenance import parse
from btp.report.summary import Section, agreeing, by_recipe, explain_in, section, write_report
from btp.report.tables import Result
from btp.report.typeset import markdown
from btp.runs import Run, find_runs


@script("eval")
def main(config: DictConfig) -> None:
    numbers = TABLES if config.table is None else check_table(str(config.table))
    if config.explain is not None:
        parse(str(config.explain))  # before anything is scored
    seeds = None if config.seeds is None else seeds_from(whole(config, "seeds"))
    dataset = dataset_from(config)
    model = model_from(config)
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
    if config.run is not None:
        _one_run(config, campaign)
        return
    wanted = None  # every recipe that there are runs of
    if config.run_missing or typed("recipe"):
        wanted = plan_from(config, dataset, recipe_of())
    if wanted is not None and config.run_missing:
        _complete(config, campaign, wanted, numbers, seeds or seeds_from(1))
    runs = find_runs(config.outputs, dataset.name, model.config.name)
    results = _results(campaign.score(runs))
    sections = _sections(config, campaign, results, wanted, numbers, seeds)
    if not sections:
        _nothing(config, campaign)
    if config.explain is not None:
        print(explain_in(sections, str(config.explain)))
        return
    folder = Path(config.outputs, dataset.name, model.config.name, "report")
    drawn = _draw(campaign, sections, folder) if config.figures else []
    shown = ("all", *numbers) if config.table is None else numbers
    _show(campaign, sections, shown, folder, runs, drawn)
    if config.run_missing and any(part.gaps for part in sections):
        raise SystemExit(1)


def _one_run(config: DictConfig, campaign: Campaign) -> None:
    """The run of a folder, which may have been trained on another dataset."""
    run = Run(Path(config.run))
    results = _results([(run, campaign.result_of(run))])
    recipe = _recipe(results)
    evidence = Evidence(
        dataset=campaign.dataset.name,
        encoder=campaign.model.config.name,
        recipe=recipe,
        categories=campaign.dataset.categories,
        seeds=[results[0].seed],
        results=results,
        baselines={},
        n_points=results[0].n_points,
    )
    part = section(evidence, "", ())
    only = replace(part, tables=[table for table in part.tables if table.number == "all"])
    _show(campaign, [only], ("all",), run.folder / "report", [run])


def _complete(
    config: DictConfig,
    campaign: Campaign,
    wanted: Plan,
    numbers: Sequence[str],
    seeds: Sequence[int],
) -> None:
    """Train and score what the tables lack, then the baselines."""
    variants = TRAINED_VARIANTS if "4" in numbers else ("full",)
    recipes = {variant: recipe_of(variant) for variant in variants}
    categories = campaign.dataset.categories
    plans = plan_tables(numbers, wanted, categories, recipes, seeds)
    baselines = plan_baselines(numbers, wanted, categories, seeds)
    print(f"{len(plans)} runs and {len(baselines)} baselines, finished ones included", flush=True)
    # n_points by n_points: the first ones share their features with the baselines
    own = [plan for plan in plans if plan.n_points == wanted.n_points]
    campaign.train_and_score(own, train_command, dataset_settings(config))
    campaign.baselines(baselines, eval_command(len(seeds)), run_missing=True)
    others = [plan for plan in plans if plan.n_points != wanted.n_points]
    campaign.train_and_score(others, train_command, dataset_settings(config))
    print(f"time: {campaign.shares}\n", flush=True)


def _sections(
    config: DictConfig,
    campaign: Campaign,
    results: Sequence[Result],
    wanted: Plan | None,
    numbers: Sequence[str],
    seeds: Sequence[int] | None,
) -> list[Section]:
    """A section for each recipe that there are results of, or for the wanted one."""
    sections = []
    dataset = campaign.dataset
    for group in by_recipe(results).values():
        used, remarks = agreeing(group)
        campaign.left_out += remarks
        recipe = _recipe(used)
        sampling = int(used[0].about["sampling_seed"])
        base = Plan(dataset.name, "", 0, recipe, whole(config, "n_points"), sampling)
        if wanted is not None and (recipe.name, sampling) != (
            wanted.recipe.name,
            wanted.sampling_seed,
        ):
            continue
        planned = seeds or sorted({result.seed for result in used})
        plans = plan_baselines(TABLES, base, dataset.categories, planned)
        others: dict[str, list[Result]] = {}
        for result in _results(campaign.baselines(plans, "", run_missing=False)):
            others.setdefault(str(result.about["baseline"]), []).append(result)
        evidence = Evidence(
            dataset=dataset.name,
            encoder=campaign.model.config.name,
            recipe=recipe,
            categories=dataset.categories,
            seeds=planned,
            results=used,
            baselines=others,
            n_points=base.n_points,
        )
        sections.append(section(evidence, same_data(), numbers))
    return sections


def _results(scored: Sequence[tuple[Run, dict[str, Any]]]) -> list[Result]:
    return [Result(str(run.folder), about) for run, about in scored]


def _recipe(results: Sequence[Result]) -> Recipe:
    """The full recipe of runs that are its variants."""
    best = min(results, key=lambda result: result.variant != "full")
    return build(Recipe, dict(best.about["recipe"]), f"{best.folder}: recipe")


def _draw(campaign: Campaign, sections: Sequence[Section], folder: Path) -> list[Path]:
    """Pictures of each recipe, in a folder of its name."""
    drawn = []
    for part in sections:
        evidence = part.evidence
        sampling = int(evidence.results[0].about["sampling_seed"])
        store = campaign.store(evidence.n_points, sampling)
        drawn += draw_gallery(evidence, campaign.dataset, store, folder / evidence.recipe.name)
    return drawn


def _nothing(config: DictConfig, campaign: Campaign) -> None:
    for remark in campaign.left_out:
        print(f"left out: {remark}", file=sys.stderr)
    train_cat = train_categories(campaign.dataset.name, campaign.dataset.categories)[:1]
    folder = Path(config.outputs, campaign.dataset.name, campaign.model.config.name)
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
    seen: set[str] = set()
    for part in sections:
        for table in part.tables:
            if table.number in numbers:
                new = [note for note in table.notes if note not in seen]
                seen |= set(new)
                print(markdown(replace(table, notes=new)))
        for gap in part.gaps:
            print(gap)
    print()
    for remark in campaign.left_out:
        print(f"left out: {remark}", file=sys.stderr)
    pictures = [run.pictures_path(campaign.dataset.name) for run in runs]
    for path in [*paths, *drawn, *(path for path in pictures if path.is_file())]:
        print(path)


if __name__ == "__main__":
    take_paths_as_typed("explain", "run")
    main()
