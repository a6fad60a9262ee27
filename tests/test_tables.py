"""Tables: what is averaged, what is refused, and how it is typeset."""

from __future__ import annotations

import csv
import html.parser
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored import baseline, changed, record

from btp.errors import ConfigError
from btp.experiments.record import RunRecord
from btp.experiments.workspace import Commands
from btp.recipe import Recipe
from btp.report import footnotes, paper
from btp.report.agreement import agreeing, by_recipe
from btp.report.evidence import Evidence
from btp.report.page import html_page, to_html
from btp.report.paper_tables import tables_of
from btp.report.provenance import explain
from btp.report.request import Request
from btp.report.sections import section
from btp.report.speed import Speed
from btp.report.summary import write_report
from btp.report.tables import (
    MEAN,
    OVER_SEEDS,
    OVER_TRAINING,
    Cell,
    Row,
    Table,
    average,
    by_category,
    deviations,
    every_metric,
)
from btp.report.typeset import (
    Footnotes,
    blocks,
    latex,
    latex_notes,
    markdown,
    markdown_notes,
    to_csv,
)

CATEGORIES = ("box", "cup", "disc", "egg")
RESULTS = [record("egg", box=0.5, disc=0.9), record("box", egg=0.7, disc=0.7)]


def evidence(runs: list[RunRecord], **settings: Any) -> Evidence:
    given: dict[str, Any] = {
        "dataset": "set",
        "encoder": "mini",
        "recipe": Recipe(),
        "categories": CATEGORIES,
        "seeds": sorted({run.seed for run in runs}),
        "runs": runs,
        "baselines": {},
    }
    return Evidence(**(given | settings))


def test_a_category_s_mean_is_over_runs_that_did_not_see_it() -> None:
    cells = by_category(RESULTS, "aupro", ["box", "disc", "egg"])
    means = {name: cell.mean for name, cell in cells.items()}
    assert means == pytest.approx({"box": 50, "disc": 80, "egg": 70, MEAN: np.mean([50, 80, 70])})
    assert cells["box"].records == (RESULTS[0],)
    assert cells[MEAN].records == tuple(RESULTS)


def test_seeds_weigh_alike_and_give_the_deviation() -> None:
    more = [*RESULTS, record("cup", disc=0.8), record("egg", 112, disc=0.2)]
    cell = average(more, "aupro", ["disc"])
    assert cell.mean == pytest.approx(100 * np.mean([np.mean([0.9, 0.7, 0.8]), 0.2]))
    assert cell.std == pytest.approx(100 * np.std([0.8, 0.2], ddof=1))
    assert math.isnan(average(RESULTS, "aupro", ["disc"]).std)  # one seed has none


def test_the_two_deviations_that_plus_minus_may_mean() -> None:
    seeds = [(0.5, 0.9), (0.7, 0.7)]
    more = [record("egg", 111 + i, box=a, disc=b) for i, (a, b) in enumerate(seeds)]
    more += [record("box", 111 + i, disc=0.4 + 0.2 * i) for i in range(2)]
    cell = average(more, "aupro", ["box", "disc"])
    by_seed = [np.mean([0.5, np.mean([0.9, 0.4])]), np.mean([0.7, np.mean([0.7, 0.6])])]
    assert cell.std == pytest.approx(100 * np.std(by_seed, ddof=1))
    assert cell.spread == pytest.approx(100 * np.std([0.7, 0.5], ddof=1))  # egg's mean and box's
    named = {name: each.mean for name, each in deviations(cell).items()}
    assert named == {OVER_SEEDS: cell.std, OVER_TRAINING: cell.spread}
    assert math.isnan(average(more[:2], "aupro", ["box"]).spread)  # one training category has none


def test_the_paper_s_own_deviation_is_that_over_training_categories() -> None:
    table = paper.table2()
    names = sorted(table)
    runs = [
        record(t, **{c: cell.mean / 100 for c, cell in table[t].items() if c != MEAN})
        for t in ("car", "chicken", "gemstone")
    ]
    printed = np.std([table[result.train_cat][MEAN].mean for result in runs], ddof=1)
    assert printed == pytest.approx(2.08, abs=0.005)
    # of cells that are rounded to 0.1
    assert average(runs, "point_auroc", names).spread == pytest.approx(printed, abs=0.05)


def test_what_is_not_defined_is_left_out_of_the_mean_and_named() -> None:
    table = every_metric([*RESULTS, record("egg", cup=math.nan)], "title")
    cells = {row.name: row.cells["object_auroc"] for row in table.rows}
    assert math.isnan(cells["cup"].mean)
    assert cells[MEAN].mean == pytest.approx(np.mean([50, 80, 70]))
    assert "mean: O-AUROC without cup (one label only)." in table.remarks


def test_the_recipe_s_p_pro_is_marked() -> None:
    assert "| AU-PRO (P-PRO) | coverage AUC |" in markdown(
        every_metric(RESULTS, "", "standard"), Footnotes()
    )
    assert "| AU-PRO | coverage AUC (P-PRO) |" in markdown(
        every_metric(RESULTS, "", "coverage"), Footnotes()
    )


SMALL = Table(
    "9",
    "x",
    "A & B, 100 %",
    "method",
    {"a": "P_1", "b": "mean"},
    [
        Row("Other", "Other <1>", {"a": Cell(51.95)}, "quoted", ["one ± two."]),
        Row("Seer", "Seer", {"a": Cell(99.0), "b": Cell(7.04)}, "baseline", zero_shot=False),
        Row("ours", "BTP, ours", {"a": Cell(61.44, 2.04, records=(RESULTS[0],)), "b": Cell(7.0)}),
        Row("ours-difference", "ours − paper", {"a": Cell(-0.26), "b": Cell(1.0)}, "difference"),
    ],
    ["D4: one & all."],
    ["INCOMPLETE."],
)
GROUPED = replace(SMALL, grouped=True)


def test_markdown() -> None:
    footnotes = Footnotes()
    assert markdown(SMALL, footnotes) == (
        "### A & B, 100 % [1]\n"
        "\n"
        "| method | P_1 | mean |\n"
        "|---|--:|--:|\n"
        "| Other <1> [2] | 52.0 | – |\n"
        "| Seer | 99.0 | 7.0 |\n"
        "| BTP, ours | **61.4 ± 2.0** | 7.0 |\n"
        "| ours − paper | -0.3 | +1.0 |\n"
        "\n"
        "- INCOMPLETE.\n"
    )
    assert markdown_notes(footnotes) == "### Notes\n\n1. D4: one & all.\n2. one ± two.\n"
    assert markdown_notes(Footnotes()) == ""


def test_lines_that_need_normal_scans_stand_below_a_heading_and_never_win() -> None:
    lines = markdown(GROUPED, Footnotes()).splitlines()[4:]
    assert lines[:3] == [
        "| *need normal scans of the tested category* | | |",
        "| Seer | 99.0 | 7.0 |",
        "| *zero-shot* | | |",
    ]
    assert not SMALL.is_best(SMALL.rows[1], "a")
    assert not replace(SMALL, compares=False).is_best(SMALL.rows[2], "a")


def test_the_best_figure_of_a_column_is_that_which_is_printed_and_may_be_shared() -> None:
    values = {"x": 61.44, "y": 61.36, "z": 61.34, "w": math.nan}
    rows = [Row(name, name, {"a": Cell(value)}) for name, value in values.items()]
    table = replace(SMALL, rows=rows)
    assert [row.name for row in rows if table.is_best(row, "a")] == ["x", "y"]
    alone = replace(SMALL, rows=rows[:1])  # nothing to be better than
    assert not alone.is_best(rows[0], "a")


def test_a_note_has_one_number_in_all_tables() -> None:
    footnotes = Footnotes()
    other = replace(SMALL, notes=["new.", "one ± two."])
    texts = [markdown(table, footnotes).splitlines()[0] for table in (SMALL, other, SMALL)]
    assert [text.partition("% ")[2] for text in texts] == ["[1]", "[2, 3]", "[1]"]
    assert footnotes.texts == ["D4: one & all.", "one ± two.", "new."]


@pytest.mark.parametrize(
    ("count", "widths"), [(3, [3]), (15, [15]), (16, [8, 8]), (43, [15, 15, 13])]
)
def test_wide_tables_are_folded(count: int, widths: list[int]) -> None:
    table = replace(SMALL, columns={f"c{i}": f"C{i}" for i in range(count)})
    folded = blocks(table)
    assert [len(block) for block in folded] == widths
    assert [name for block in folded for name in block] == list(table.columns)
    text = markdown(table, Footnotes())
    assert text.count("| method |") == len(widths)
    assert latex(table, Footnotes()).count("\\toprule") == len(widths)
    assert to_html(table, Footnotes()).count("<thead>") == len(widths)


def test_latex() -> None:
    footnotes = Footnotes()
    assert latex(GROUPED, footnotes) == (
        "\\begin{table*}\n"
        "\\centering\\small\n"
        "\\caption{A \\& B, 100 \\%.\\textsuperscript{1} INCOMPLETE.}\n"
        "\\label{tab:9-x}\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "method & P\\_1 & mean \\\\\n"
        "\\midrule\n"
        "\\multicolumn{3}{l}{\\emph{need normal scans of the tested category}} \\\\\n"
        "Seer & $99.0$ & $7.0$ \\\\\n"
        "\\midrule\n"
        "\\multicolumn{3}{l}{\\emph{zero-shot}} \\\\\n"
        "Other <1>\\textsuperscript{2} & $52.0$ & -- \\\\\n"
        "BTP, ours & $\\mathbf{61.4\\,\\pm\\,2.0}$ & $7.0$ \\\\\n"
        "ours $-$ paper & $-0.3$ & $+1.0$ \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table*}\n"
    )
    assert latex_notes(footnotes) == (
        "\\begin{enumerate}\\small\n\\item D4: one \\& all.\n\\item one $\\pm$ two.\n"
        "\\end{enumerate}\n"
    )


def test_csv_has_every_number_once() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([("plus", SMALL)]))))
    assert rows[0] == {
        "recipe": "plus",
        "table": "9-x",
        "row": "Other",
        "kind": "quoted",
        "column": "a",
        "mean": "51.950000",
        "std_over_seeds": "",
        "std_over_training_categories": "",
        "results": "",
    }
    assert [(r["row"], r["column"], r["std_over_seeds"], r["results"]) for r in rows[3:5]] == [
        ("ours", "a", "2.040000", "1"),
        ("ours", "b", "", ""),
    ]
    assert len(rows) == 7


class Structure(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects the cells' text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta",):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def test_html_is_well_formed_and_escapes() -> None:
    part = replace(section(evidence(RESULTS), Request()), tables=[SMALL, GROUPED])
    text = html_page(Path("nowhere"), [part], ["left out: <x>"])
    structure = Structure()
    structure.feed(text)
    assert structure.open == []
    assert structure.cells[:3] == ["method", "P_1", "mean"]
    assert structure.cells[3:6] == ["Other <1>2", "52.0", "–"]
    assert structure.cells[10] == "61.4 ± 2.0"
    assert text.count("<b>") == 2  # the one best figure, in each table
    assert text.count('id="note-1"') == text.count('id="note-2"') == 1
    assert text.count('href="#note-1"') == 2
    assert "left out: &lt;x&gt;" in text


def test_table_2_is_shaded_from_its_lowest_value_to_its_highest() -> None:
    rows = [Row(n, n, {"a": Cell(v), MEAN: Cell(99.0)}) for n, v in {"x": 50.0, "y": 80.0}.items()]
    table = replace(SMALL, columns={"a": "a", MEAN: "mean"}, rows=rows, heat=True)
    shares = re.findall(r"--share: (\d+)%", to_html(table, Footnotes()))
    assert shares == ["0", "60"]
    assert "--share" not in to_html(replace(table, heat=False), Footnotes())


def test_tables_of_the_paper_s_set_stand_beside_the_paper_s_numbers() -> None:
    names = sorted(paper.table2())
    few = ("car", "chicken", "gemstone")
    runs = [
        record(t, seed, **{c: 0.6 + 0.02 * (seed - 111) for c in names if c != t})
        for t in few
        for seed in (111, 112)
    ]
    given = evidence(runs, dataset="real3d", categories=names)
    tables = {table.name: table for table in tables_of(given, ("1", "2", "3", "4", "5"))}
    assert list(tables) == [
        "1-object_auroc", "1-point_auroc", "2-ours", "2-paper", "2-difference", "3",
        "3-deviations",
    ]  # fmt: skip
    points = {row.name: row.cells for row in tables["1-point_auroc"].rows}
    assert points["ours"]["car"].mean == pytest.approx(61.0)
    assert points["ours"]["car"].std == pytest.approx(math.sqrt(2))
    assert len(points["ours"]["car"].records) == 4  # not those that trained on car
    assert points["paper"]["car"].mean == 77.7
    assert points["ours-difference"]["car"].mean == pytest.approx(61.0 - 77.7)
    titles = {row.name: row.title for row in tables["1-point_auroc"].rows}
    assert titles["PointCLIPV2"] == "PointCLIPV2 (quoted, by way of PointAD)"
    assert titles["PointAD"] == "PointAD (quoted)"
    seen = {row.name: row.zero_shot for row in tables["3"].rows}
    assert not any(seen[name] for name in ("BTF", "PASDF", "PO3AD", "Simple3D", "AF3AD"))
    assert all(seen[name] for name in ("PointAD", "MVP-PCLIP", "ours", "paper", "update"))
    notes = tables["1-point_auroc"].notes
    assert footnotes.HEADERS in notes
    assert footnotes.FISH in notes
    assert any(note.startswith("The encoder is mini; the paper's is ULIP-2") for note in notes)
    three = {row.name: row.cells for row in tables["3"].rows}
    assert three["paper"]["coverage_auc"].mean == 81.9
    assert three["ours-difference"]["coverage_auc"].mean == pytest.approx(61.0 - 81.9)
    assert three["update"]["object_auroc"].mean == 66.6
    assert "ours-update-difference" not in three  # which is for the release's recipe
    assert three["BTF"]["printed_pro"].mean == 18.6
    apart = {row.name: row.cells for row in tables["3-deviations"].rows}["point_auroc"]
    values = {name: apart[name].mean for name in ("mean", OVER_SEEDS, "printed", "printed_std")}
    assert values == pytest.approx(
        {"mean": 61.0, OVER_SEEDS: math.sqrt(2), "printed": 84.5, "printed_std": 2.0}
    )
    assert apart[OVER_TRAINING].mean == pytest.approx(0)
    assert "coverage_auc" not in three["BTF"]
    two = next(row for row in tables["2-difference"].rows if row.name == "gemstone")
    assert two.cells["duck"].mean == pytest.approx(61.0 - 92.8)


def test_the_release_s_recipe_stands_beside_the_authors_update() -> None:
    names = sorted(paper.table2())
    release = Recipe().changed(name="release", object_score="top20")
    runs = [changed(record("car", **{c: 0.6 for c in names if c != "car"}), recipe=release)]
    given = evidence(runs, dataset="real3d", categories=names, recipe=release)
    rows = {row.name: row for row in tables_of(given, ("3",))[0].rows}
    difference = rows["ours-update-difference"]
    assert difference.title == "ours − update"
    assert difference.cells["object_auroc"].mean == pytest.approx(60.0 - 66.6)


def test_ablation_and_points_have_a_row_each_and_what_is_missing_is_said() -> None:
    full, mgfem = Recipe(), Recipe().changed(variant="mgfem", use_geometry=False)
    runs = [record("box", cup=0.5), changed(record("box", cup=0.4), recipe=mgfem)]
    runs.append(changed(record("box", cup=0.3), n_points=1024))
    zero = baseline("ulip_zero_shot", cup=0.2)
    speed = Speed({1024: 30.0}, "measured on a machine")
    given = evidence(runs, recipe=full, baselines={"ulip_zero_shot": [zero]}, speed=speed)
    tables = {table.name: table for table in tables_of(given, ("4", "5"))}
    four = {row.name: row.cells["aupro"].mean for row in tables["4"].rows}
    assert four == pytest.approx({"baseline": 20, "mgfem": 40, "full": 50})
    assert (
        tables["4"].remarks[0].startswith("INCOMPLETE: 2 of 24 runs; missing: cup seed 111 mgfem")
    )
    five = {row.name: row.cells["clouds_per_second"].mean for row in tables["5"].rows}
    assert five["1024"] == 30.0
    assert math.isnan(five["2048"])
    assert tables["5"].notes[-1] == "measured on a machine"
    text = explain(tables.values(), "table=5 row=1024 col=clouds_per_second")
    assert "30.0\n  from the benchmark's record" in text
    assert given.gaps("2") == (3, 4)
    assert given.gaps("5") == (14, 16)


def test_other_settings_are_never_in_one_mean() -> None:
    odd = changed(record("disc", box=0.1), encoder_fingerprint="e2")
    other = changed(record("cup", box=0.1), recipe=Recipe().changed(learning_rate=1e-5))
    used, left_out = agreeing([*RESULTS, odd, other])
    assert used == RESULTS
    assert left_out[0].startswith("outputs/disc/seed111: encoder_fingerprint is e2, not e1")
    assert left_out[1].startswith("outputs/cup/seed111: recipe.learning_rate is 1e-05, not 0.0005")
    # of other variants and numbers of points each is its own mean
    apart = [*RESULTS, changed(RESULTS[0], n_points=1024)]
    assert agreeing(apart) == (apart, [])
    plus = changed(RESULTS[0], recipe=Recipe(name="plus"))
    assert {name: len(group) for name, group in by_recipe([*RESULTS, plus]).items()} == {
        "paper": 2,
        "plus": 1,
    }


def test_runs_of_the_former_paper_recipe_are_named_and_in_no_mean_of_the_present_one() -> None:
    flat = {name: value for name, value in Recipe().flat().items() if name not in FORMER}
    old = changed(record("cup", box=0.1), recipe=Recipe.from_file(flat, "an old file"))
    used, left_out = agreeing([*RESULTS, old])
    assert used == RESULTS
    named = [f"recipe.{name} is {value}, not" for name, value in FORMER.items()]
    assert all(text in left_out[0] for text in ["outputs/cup/seed111: ", *named])


FORMER = {
    "patch_similarity": "product",
    "gfcm_output": "fpfh",
    "geo_projection": "none",
    "fusion": "mlp",
}


def test_16_bit_heads_have_a_note() -> None:
    assert footnotes.of_records(RESULTS, "demo") == []
    (note,) = footnotes.of_records([*RESULTS, changed(RESULTS[0], bfloat16=True)], "demo")
    assert note.startswith("D20: the heads were trained in 16 bit")


def test_a_note_for_every_switch_that_differs() -> None:
    assert footnotes.of_recipe(Recipe()) == []
    assert footnotes.of_recipe(Recipe().changed(variant="mgfem", use_geometry=False)) == []
    notes = footnotes.of_recipe(
        Recipe().changed(
            prompts="fixed", shuffle=True, drop_last=False, fpfh_cloud="dense", epochs=20
        )
    )
    assert notes == [
        "D1: prompts is fixed, not learned.",
        "D8: fpfh_cloud is dense, not sampled.",
        "D11: shuffle is true, not false; drop_last is false, not true.",
        "Recipe: epochs is 20, not 100.",
    ]
    known = {f"D{n}" for n in range(1, 19)} - {"D4"}  # which is of the table, not of the run
    assert set(footnotes.DEVIATIONS.values()) == known
    assert set(footnotes.DEVIATIONS) <= set(Recipe().flat())


def test_a_cell_is_explained_down_to_weights_and_commands() -> None:
    runs = [*RESULTS, record("egg", 112, box=0.25, disc=0.8)]
    tables = tables_of(evidence(runs), ("1", "2"))
    text = explain(tables, "table=2 row=egg col=box")
    assert "row egg, column box: 37.5 ± 17.7" in text
    assert "outputs/egg/seed111\n    trained on egg, seed 111: 50.000000" in text
    assert "detector d-egg-112\n    encoder e1, text tower t1" in text
    assert text.count("python scripts/train.py dataset=folder recipe=paper train_cat=egg") == 1
    assert '"learning_rate": 0.0005' in text
    both = explain(tables, "table=1 row=ours col=disc")
    assert both.count("row ours, column disc") == 2  # object and point AUROC
    for request, message in (
        ("table=2 row=eg col=box", "no row 'eg'.*Did you mean egg"),
        ("table=2 row=egg col=bix", "no col 'bix'.*Did you mean box"),
        ("table=4 row=egg col=box", "no table 4 here; there are: 1, 2"),
        ("row=egg col=box", "expected explain='table=2 row=gemstone col=duck'"),
    ):
        with pytest.raises(ConfigError, match=message):
            explain(tables, request)


def test_a_report_is_written_in_all_formats(tmp_path: Any) -> None:
    request = Request(numbers=("1", "2"), commands=Commands(("dataset=folder",)))
    part = section(evidence(RESULTS), request)
    assert part.gaps == [
        "Table 1: 2 of 4 runs missing",
        "Table 2: 2 of 4 runs missing",
        "the first of them: python scripts/eval.py dataset=folder recipe=paper table=1 "
        "run_missing=true",
        "all of them: python scripts/eval.py dataset=folder recipe=paper table=all "
        "run_missing=true",
    ]
    paths = write_report(tmp_path, [part], ["outputs/x: damaged"])
    assert [path.name for path in paths] == [
        "tables.md", "tables.csv", "tables.tex", "index.html", "results.jsonl",
    ]  # fmt: skip
    texts = {path.name: path.read_text() for path in paths}
    for name in ("tables.md", "index.html"):
        assert "left out: outputs/x: damaged" in texts[name]
        assert "Table 1, O-AUROC by test category" in texts[name]
    assert texts["tables.tex"].count("\\begin{table*}") == texts["tables.md"].count("###") - 1
    assert len(texts["results.jsonl"].splitlines()) == 2


def test_pictures_stand_beside_their_tables(tmp_path: Path) -> None:
    part = section(evidence(RESULTS), Request())
    assert "<img" not in html_page(tmp_path, [part], [])
    (tmp_path / "paper").mkdir()
    for name in ("viewer.html", "object_scores.png", "cross_category.png", "training.png"):
        (tmp_path / "paper" / name).touch()
    files = {path.name: path.read_text() for path in write_report(tmp_path, [part], [])}
    text = files["index.html"]
    order = [
        *("paper/viewer.html", "<h3>Table 1, O-AUROC", 'src="paper/object_scores.png"'),
        *("<h3>Table 1, P-AUROC", "<h3>Table 2", 'src="paper/cross_category.png"', "<h3>Table 3"),
        *('src="paper/training.png"', "<h2>Notes</h2>"),  # of no table that is there
    ]
    positions = [text.index(each) for each in order]
    assert positions == sorted(positions)
    assert "![Table 2 as a heat map](<paper/cross_category.png>)" in files["tables.md"]
    assert "\\detokenize{paper/cross_category.png}" in files["tables.tex"]


def test_the_scans_that_scoring_drew_are_on_the_page(tmp_path: Path) -> None:
    run = tmp_path / "egg" / "seed111"
    run.mkdir(parents=True)
    (run / "pictures-set.png").touch()
    report = tmp_path / "report"
    part = section(evidence([changed(RESULTS[0], folder=str(run)), RESULTS[1]]), Request())
    assert 'src="../egg/seed111/pictures-set.png"' in html_page(report, [part], [])
