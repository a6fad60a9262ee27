"""Both benchmarks from nothing to the report: published layouts, and ULIP-2 in small."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import hub_in_place
from published import publish
from run_script import run_script
from small_project import make_small_project, write_anomaly_shapenet, write_real3d

ROOT = Path(__file__).resolve().parent.parent
CATEGORIES = {
    "real3d": ("airplane", "car", "gemstone"),
    "anomaly_shapenet": ("bowl5", "jar0", "vase0"),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "project"
    make_small_project(ROOT, root)
    write_real3d(root / "data" / "Real3D-AD", CATEGORIES["real3d"])
    write_anomaly_shapenet(root / "data" / "Anomaly-ShapeNet-v2", CATEGORIES["anomaly_shapenet"])
    monkeypatch.chdir(root)
    with hub_in_place(monkeypatch) as hub:
        publish(hub)
        yield root


@pytest.mark.slow
@pytest.mark.parametrize("dataset", CATEGORIES)
@pytest.mark.filterwarnings("ignore:.*going on with what is there")
def test_every_command_and_table_of_a_benchmark(
    dataset: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(script: str, *settings: str) -> str:
        ended = run_script(project, script, f"dataset={dataset}", *settings)
        printed = capsys.readouterr().out
        assert ended == 0, printed
        return printed

    trained = CATEGORIES[dataset][1]
    assert "not here: checkpoints/ulip2/point_encoder" in run("eval.py")
    assert run_script(project, "train.py", f"dataset={dataset}", f"train_cat={trained}") == 2
    assert run_script(project, "weights.py", "fetch=ulip2") == 0
    run("prepare.py")
    run("train.py", f"train_cat={trained}")
    finished = run("eval.py", "table=all", "run_missing=true", "seeds=2", "figures=true")
    # trained by the command before
    assert f"outputs/{dataset}/ulip2/paper/{trained}/seed111: trained before" in finished
    report = project / "outputs" / dataset / "ulip2" / "report"
    page = (report / "index.html").read_text()
    for number in "12345":
        assert f"### Table {number}" in finished
        assert f"<h3>Table {number}" in page
    pictures = ("scans.png", "object_scores.png", "cross_category.png", "training.png")
    assert all(f'src="paper/{name}"' in page for name in pictures)
    assert 'href="paper/viewer.html"' in page
    with (report / "tables.csv").open() as lines:
        ours = [row for row in csv.DictReader(lines) if row["kind"] in ("ours", "baseline")]
    assert {row["table"].partition("-")[0] for row in ours} == {*"12345", "all"}
    assert all(math.isfinite(float(row["mean"])) for row in ours)

    explained = run("eval.py", f"explain='table=2 row={trained} col={CATEGORIES[dataset][0]}'")
    again = next(line for line in explained.splitlines() if line.endswith("seed=112"))
    detector = project / "outputs" / dataset / "ulip2" / "paper" / trained / "seed112"
    content = (detector / "detector.safetensors").read_bytes()
    _, script, *settings = shlex.split(again)
    assert run_script(project, Path(script).name, *settings) == 0
    assert (detector / "detector.safetensors").read_bytes() == content

    one = run("eval.py", f"run={detector}", "rescore=true", "thresholds=200")
    assert "200 thresholds" in one
    run("eval.py", "table=3", "run_missing=true", "recipe=paper", "fpfh_radii=[0.5,1.0]")
    run("gains.py", "alternatives=['object_score=max']", "across=true")
