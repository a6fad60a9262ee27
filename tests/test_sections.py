"""Results sorted into sections: one for each recipe, with the baselines of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from test_tables import RESULTS, changed

from btp.experiments.baseline_runs import BaselinePlan
from btp.experiments.protocol import Plan
from btp.experiments.record import Result
from btp.recipe import Recipe
from btp.report.sections import Request, section_of_one, sections_of
from btp.report.summary import printed

CATEGORIES = ("box", "disc", "egg")
REQUEST = Request("folder", "tiny", CATEGORIES, RESULTS[0].n_points, ("2",))
PLUS = changed(RESULTS[0], recipe=asdict(Recipe("plus")))


def none(plans: Sequence[BaselinePlan]) -> list[Result]:
    return []


def test_a_section_for_each_recipe_or_for_the_wanted_one() -> None:
    sections, left_out = sections_of([*RESULTS, PLUS], REQUEST, none)
    assert [part.evidence.recipe.name for part in sections] == ["paper", "plus"]
    assert left_out == []
    wanted = replace(REQUEST, wanted=Plan("folder", "", 0, Recipe("plus")))
    sections, _ = sections_of([*RESULTS, PLUS], wanted, none)
    assert [list(part.evidence.results) for part in sections] == [[PLUS]]
    other = replace(REQUEST, wanted=Plan("folder", "", 0, Recipe("plus"), sampling_seed=1))
    assert sections_of([*RESULTS, PLUS], other, none) == ([], [])


def test_baselines_of_the_section_s_settings_are_asked_for() -> None:
    asked: list[BaselinePlan] = []

    def baselines(plans: Sequence[BaselinePlan]) -> list[Result]:
        asked.extend(plans)
        return [changed(RESULTS[0], baseline="btf", train_cat=None)]

    (part,), _ = sections_of([PLUS], replace(REQUEST, seeds=(111, 112)), baselines)
    assert {plan.settings.recipe for plan in asked} == {Recipe("plus")}
    assert {plan.settings.seed for plan in asked if plan.name == "ulip_linear"} == {111, 112}
    assert list(part.evidence.baselines) == ["btf"]


def test_what_no_section_uses_is_named() -> None:
    odd = changed(RESULTS[0], encoder_fingerprint="e2", seed=112)
    (part,), left_out = sections_of([*RESULTS, odd], REQUEST, none)
    assert list(part.evidence.results) == RESULTS
    assert len(left_out) == 1 and "encoder_fingerprint is e2, not e1" in left_out[0]


def test_one_run_has_every_metric_at_its_own_number_of_points() -> None:
    run: Any = changed(RESULTS[0], n_points=1024)
    part = section_of_one(run, REQUEST)
    assert [table.number for table in part.tables] == ["all"]
    assert part.evidence.n_points == 1024
    assert part.gaps == []


def test_a_note_is_printed_once_and_other_tables_are_not() -> None:
    plus = [changed(each, recipe=asdict(Recipe("plus"))) for each in RESULTS]
    sections, _ = sections_of([*RESULTS, *plus], REQUEST, none)
    text = printed(sections, ("2",))
    assert text.count("### Table 2") == 2
    assert "### Table 1" not in text
    notes = [line for line in text.splitlines() if line.startswith("- ")]
    assert notes and len(notes) == len(set(notes))
    assert text.count("\nTable 2: ") == 2  # what each recipe lacks
