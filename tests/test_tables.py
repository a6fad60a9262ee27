"""Tables: what is averaged, what is refused, and how it is typeset."""

from __future__ import annotations

import csv
import html.parser
import io
import math
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
from btp.report.evidence import Evidence
from btp.report.paper_tables import tables_of
from btp.report.provenance import explain
from btp.report.sections import Request, agreeing, by_recipe, section
from btp.report.speed import Speed
from btp.report.summary import write_report
from btp.report.tables import MEAN, Cell, Row, Table, average, by_category, every_metric
from btp.report.typeset import latex, markdown, page, pictures_html, to_csv, to_html

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


def test_what_is_not_defined_is_left_out_of_the_mean_and_named() -> None:
    table = every_metric([*RESULTS, record("egg", cup=math.nan)], "title")
    cells = {row.name: row.cells["object_auroc"] for row in table.rows}
    assert math.isnan(cells["cup"].mean)
    assert cells[MEAN].mean == pytest.approx(np.mean([50, 80, 70]))
    assert "mean: O-AUROC without cup (one label only)." in table.notes


def test_the_recipe_s_p_pro_is_marked() -> None:
    assert "| AU-PRO (P-PRO) | coverage AUC |" in markdown(every_metric(RESULTS, "", "standard"))
    assert "| AU-PRO | coverage AUC (P-PRO) |" in markdown(every_metric(RESULTS, "", "coverage"))


SMALL = Table(
    "9",
    "x",
    "A & B, 100 %",
    "method",
    {"a": "P_1", "b": "mean"},
    [
        Row("Other", "Other <1>", {"a": Cell(51.95)}, "quoted"),
        Row("ours", "BTP, ours", {"a": Cell(61.44, 2.04, (RESULTS[0],)), "b": Cell(7.0)}),
        Row("ours-difference", "ours − paper", {"a": Cell(-0.26), "b": Cell(1.0)}, "difference"),
    ],
    ["D4: one ± two."],
)


def test_markdown() -> None:
    assert markdown(SMALL) == (
        "### A & B, 100 %\n"
        "\n"
        "| method | P_1 | mean |\n"
        "|---|--:|--:|\n"
        "| Other <1> | 52.0 | – |\n"
        "| **BTP, ours** | 61.4 ± 2.0 | 7.0 |\n"
        "| ours − paper | -0.3 | +1.0 |\n"
        "\n"
        "- D4: one ± two.\n"
    )


def test_latex() -> None:
    assert latex(SMALL) == (
        "\\begin{table*}\n"
        "\\centering\\small\n"
        "\\caption{A \\& B, 100 \\%. D4: one $\\pm$ two.}\n"
        "\\label{tab:9-x}\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "method & P\\_1 & mean \\\\\n"
        "\\midrule\n"
        "Other <1> & $52.0$ & -- \\\\\n"
        "\\midrule\n"
        "BTP, ours & $61.4\\,\\pm\\,2.0$ & $7.0$ \\\\\n"
        "ours $-$ paper & $-0.3$ & $+1.0$ \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table*}\n"
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
        "std": "",
        "results": "",
    }
    assert [(r["row"], r["column"], r["results"]) for r in rows[1:3]] == [
        ("ours", "a", "1"),
        ("ours", "b", ""),
    ]
    assert len(rows) == 5


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
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_html_is_well_formed_and_escapes() -> None:
    structure = Structure()
    structure.feed(page("A <b>", [to_html(SMALL)], ["left out: <x>"]))
    assert structure.open == []
    assert structure.cells[:3] == ["method", "P_1", "mean"]
    assert structure.cells[3:6] == ["Other <1>", "52.0", "–"]
    assert structure.cells[7] == "61.4 ± 2.0"


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
    ]  # fmt: skip
    points = {row.name: row.cells for row in tables["1-point_auroc"].rows}
    assert points["ours"]["car"].mean == pytest.approx(61.0)
    assert points["ours"]["car"].std == pytest.approx(math.sqrt(2))
    assert len(points["ours"]["car"].records) == 4  # not those that trained on car
    assert points["paper"]["car"].mean == 77.7
    assert points["ours-difference"]["car"].mean == pytest.approx(61.0 - 77.7)
    assert "(quoted, by way of PointAD)" in tables["1-point_auroc"].rows[6].title
    notes = tables["1-point_auroc"].notes
    assert footnotes.HEADERS in notes
    assert footnotes.FISH in notes
    assert any(note.startswith("The encoder is mini; the paper's is ULIP-2") for note in notes)
    three = {row.name: row.cells for row in tables["3"].rows}
    assert three["paper"]["coverage_auc"].mean == 81.9
    assert three["ours-difference"]["coverage_auc"].mean == pytest.approx(61.0 - 81.9)
    assert three["BTF"]["printed_pro"].mean == 18.6
    assert "coverage_auc" not in three["BTF"]
    two = next(row for row in tables["2-difference"].rows if row.name == "gemstone")
    assert two.cells["duck"].mean == pytest.approx(61.0 - 92.8)


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
    assert tables["4"].notes[0].startswith("INCOMPLETE: 2 of 24 runs; missing: cup seed 111 mgfem")
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
    known = {f"D{n}" for n in range(1, 14)} - {"D4"}  # which is of the table, not of the run
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
    assert texts["tables.tex"].count("\\begin{table*}") == texts["tables.md"].count("###")
    assert len(texts["results.jsonl"].splitlines()) == 2


def test_the_page_links_what_was_drawn_beside_it(tmp_path: Path) -> None:
    assert pictures_html(tmp_path, "plus") == ""
    (tmp_path / "plus,epochs=10").mkdir()
    for name in ("viewer.html", "object_scores.png"):
        (tmp_path / "plus,epochs=10" / name).touch()
    links = pictures_html(tmp_path, "plus,epochs=10")
    assert 'href="plus%2Cepochs%3D10/viewer.html"' in links
    assert 'src="plus%2Cepochs%3D10/object_scores.png" alt="object scores"' in links
