"""Records sorted into sections: one for each recipe, with the baselines of its settings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from scored import baseline, changed, record

from btp.data.catalog import known_categories
from btp.errors import ConfigError
from btp.experiments.memory_options import MemoryOptions
from btp.experiments.protocol import TRAIN_CATEGORIES, Plan
from btp.experiments.workspace import Commands
from btp.recipe import Recipe
from btp.report import paper
from btp.report.request import Request
from btp.report.sections import section_of_one, sections_of
from btp.report.summary import printed
from btp.report.tables import TITLES

CATEGORIES = ("box", "disc", "egg")
RUNS = [record("egg", box=0.5, disc=0.9), record("box", egg=0.7, disc=0.7)]
REQUEST = Request("set", "tiny", CATEGORIES, RUNS[0].n_points, ("2",))
PLUS = changed(RUNS[0], recipe=Recipe("plus"))


def test_a_section_for_each_recipe_or_for_the_wanted_one() -> None:
    sections, left_out = sections_of([*RUNS, PLUS], REQUEST)
    assert [part.evidence.recipe.name for part in sections] == ["paper", "plus"]
    assert left_out == []
    wanted = replace(REQUEST, wanted=Plan("set", "", 0, Recipe("plus")))
    sections, _ = sections_of([*RUNS, PLUS], wanted)
    assert [list(part.evidence.runs) for part in sections] == [[PLUS]]
    other = replace(REQUEST, wanted=Plan("set", "", 0, Recipe("plus"), sampling_seed=1))
    (part,), left_out = sections_of([*RUNS, PLUS], other)
    assert (list(part.evidence.runs), list(part.tables), left_out) == ([], [], [])


@pytest.mark.parametrize("dataset", paper.DATASETS)
def test_without_runs_the_quoted_numbers_and_the_commands_are_there(dataset: str) -> None:
    commands = Commands((f"dataset={dataset}",), ("recipe=plus",))
    categories = known_categories(dataset)
    request = Request(dataset, "ulip2", categories, wanted=Plan(dataset, "", 0, Recipe("plus")))
    (part,), left_out = sections_of([], replace(request, commands=commands))
    assert left_out == []
    numbers = {table.number for table in part.tables}
    assert numbers == ({*"12345"} if dataset == "real3d" else {*"34"})
    rows = [row for table in part.tables for row in table.rows]
    assert {row.kind for row in rows} == {"paper", "quoted"}
    assert not any(cell.records for row in rows for cell in row.cells.values())
    assert part.gaps[0] == "Table 1: 3 of 3 runs missing"
    first = TRAIN_CATEGORIES[dataset][0]
    assert part.gaps[-3] == (
        f"one training: python scripts/train.py dataset={dataset} recipe=plus train_cat={first} "
        "seed=111"
    )
    assert part.gaps[-2].endswith("recipe=plus table=1 run_missing=true")
    assert part.gaps[-1].endswith("recipe=plus table=all run_missing=true")


def test_baselines_of_the_section_s_settings_stand_beside_its_runs() -> None:
    memory = changed(baseline("btf", box=0.1), recipe=None)
    later = changed(memory, seed=112)
    linear = [changed(baseline("ulip_linear", "egg", box=0.2), seed=seed) for seed in (111, 113)]
    foreign = changed(linear[0], recipe=Recipe("plus"))
    sampled = changed(memory, n_points=1024)
    records = [*RUNS, later, memory, *linear, foreign, sampled]
    (part, *_), left_out = sections_of(records, replace(REQUEST, seeds=(111, 112)))
    assert part.evidence.baselines == {"btf": [memory], "ulip_linear": [linear[0]]}
    assert left_out == []


def test_of_baselines_with_fpfh_those_of_the_wanted_radii_are_shown() -> None:
    usual = changed(baseline("btf", box=0.1), recipe=None)
    chosen = changed(usual, fpfh_radii=(1.0, 2.5))
    encoder = changed(usual, baseline="patchcore_encoder")
    for radii, shown in ((None, usual), ((1.0, 2.5), chosen)):
        request = replace(REQUEST, memories=MemoryOptions(radii))
        (part,), left_out = sections_of([*RUNS, usual, chosen, encoder], request)
        assert part.evidence.baselines == {"btf": [shown], "patchcore_encoder": [encoder]}
        assert left_out == []
        notes = [note for table in part.tables for row in table.rows for note in row.notes]
        assert any("are 1 (normals) and 2.5 in" in note for note in notes) == (radii is not None)


def test_a_baseline_that_was_measured_otherwise_is_named() -> None:
    memory = changed(baseline("btf", box=0.1), recipe=None, text_fingerprint="other")
    odd = [
        changed(memory, scans="s2"),
        changed(baseline("ulip_zero_shot"), text_fingerprint="t2"),
        changed(baseline("ulip_zero_shot"), recipe=Recipe().changed(epochs=1)),
        changed(memory, thresholds=200),
    ]
    (part,), left_out = sections_of([*RUNS, *odd], REQUEST)
    assert part.evidence.baselines == {}
    assert [line.split(": ")[1] for line in left_out] == [
        "scans is s2, not s1 as in the runs; not beside them",
        "text_fingerprint is t2, not t1 as in the runs; not beside them",
        "recipe.epochs is 1, not 100 as in the runs; not beside them",
        "thresholds is 200, not None as in the runs; not beside them",
    ]


def test_p_pro_is_the_coverage_auc_for_the_paper_s_recipe_or_what_is_asked_for() -> None:
    tuned = changed(PLUS, recipe=Recipe().changed(name="paper,epochs=2", epochs=2))

    def marked(request: Request) -> list[str]:
        sections, _ = sections_of([*RUNS, tuned, PLUS], request)
        return [
            metric
            for part in sections
            for metric, title in part.tables[-1].columns.items()
            if title != TITLES[metric]
        ]

    assert marked(REQUEST) == ["coverage_auc", "coverage_auc", "aupro"]
    assert marked(replace(REQUEST, pro="standard")) == 3 * ["aupro"]
    with pytest.raises(ConfigError, match="pro is 'area'; expected standard or coverage"):
        replace(REQUEST, pro="area")  # type: ignore[arg-type]


def test_what_no_section_uses_is_named() -> None:
    odd = changed(RUNS[0], encoder_fingerprint="e2", seed=112)
    (part,), left_out = sections_of([*RUNS, odd], REQUEST)
    assert list(part.evidence.runs) == RUNS
    assert len(left_out) == 1 and "encoder_fingerprint is e2, not e1" in left_out[0]


def test_one_run_has_every_metric_at_its_own_number_of_points() -> None:
    run = changed(RUNS[0], n_points=1024)
    part = section_of_one(run, REQUEST)
    assert [table.number for table in part.tables] == ["all"]
    assert part.evidence.n_points == 1024
    assert part.gaps == []


def test_a_note_is_printed_once_and_other_tables_are_not() -> None:
    plus = [changed(each, recipe=Recipe("plus")) for each in RUNS]
    sections, _ = sections_of([*RUNS, *plus], REQUEST)
    text = printed(sections, ("2",))
    assert text.count("### Table 2") == 2
    assert "### Table 1" not in text
    notes = [line for line in text.splitlines() if re.match(r"\d+\. ", line)]
    assert notes and len(notes) == len(set(notes))
    assert text.count("\nTable 2: ") == 2  # what each recipe lacks
