"""Scans scored in shards give what one run gives, and what is missing is said."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from run_script import run_script
from trained import train_tiny

import btp
from btp.data.formats import write_ply
from btp.errors import DataError
from btp.inspect.calibration import Calibration, calibrate
from btp.inspect.folder import score_folder
from btp.inspect.outputs import ScanResult
from btp.inspect.predictor import Inspector
from btp.inspect.reference import GoodScans
from btp.inspect.scan_files import ScanFiles, find_scans
from btp.inspect.shards import Merged, merge_shards


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def inspector(detector: Path) -> Inspector:
    return btp.load(detector, bfloat16=False)


def ellipsoid(seed: int, length: float = 30) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(2000, 3))
    return points * (10, 20, length) / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.fixture
def scans(tmp_path: Path) -> ScanFiles:
    """Six scans and a broken file in the middle of them."""
    for seed in range(6):
        write_ply(tmp_path / "in" / f"s{seed}.ply", ellipsoid(seed))
    (tmp_path / "in" / "s2x.ply").write_bytes(b"ply\nnothing")
    return find_scans(str(tmp_path / "in"))


def score(
    inspector: Inspector,
    scans: ScanFiles,
    out: Path,
    calibration: Calibration | None = None,
    reference: GoodScans | None = None,
) -> list[ScanResult]:
    return score_folder(
        inspector, scans, out, calibration, pictures=False, writers=1, reference=reference
    )


def merge(
    inspector: Inspector,
    scans: ScanFiles,
    out: Path,
    shards: int,
    calibration: Calibration | None = None,
) -> Merged:
    return merge_shards(scans, out, shards, inspector.digest, calibration, "dense")


def test_shards_hold_every_scan_once(scans: ScanFiles) -> None:
    shards = [scans.shard(number, 3) for number in range(3)]
    assert [path.name for path in shards[1].paths] == ["s1.ply", "s3.ply"]
    assert sorted(path for shard in shards for path in shard.paths) == scans.paths
    assert [shard.share for shard in shards] == [f"shard-{n}-of-3" for n in range(3)]
    assert scans.shard(3, 16).share == "shard-03-of-16"


def test_merged_shards_are_what_one_run_writes(
    inspector: Inspector, scans: ScanFiles, tmp_path: Path
) -> None:
    scored = [p.object_score for p in inspector.predict([str(p) for p in scans.paths[:3]])]
    calibration = calibrate(inspector.digest, scored, scored, 0.3)
    whole = score(inspector, scans, tmp_path / "whole", calibration)
    out = tmp_path / "out"
    for number in (2, 0, 1, 3, 4, 5, 6, 7):  # the last one is empty
        score(inspector, scans.shard(number, 8), out, calibration)
    assert not (out / "scores.csv").exists()
    found = merge(inspector, scans, out, 8, calibration)
    assert (found.results, found.missing) == (whole, [])
    assert {result.verdict for result in whole} == {"OK", "DEFECT", ""}
    table = (out / "scores.csv").read_bytes()
    assert table == (tmp_path / "whole" / "scores.csv").read_bytes()
    heat_map = "s4.ply.scores.ply"
    assert (out / heat_map).read_bytes() == (tmp_path / "whole" / heat_map).read_bytes()


def test_what_is_not_finished_is_named(
    inspector: Inspector, scans: ScanFiles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"no shard of 3 .* such as scores\.shard-0-of-3\.csv"):
        merge(inspector, scans, out, 3)
    for number in (0, 1):
        score(inspector, scans.shard(number, 3), out)
    # a shard that is scored again, and was interrupted
    (out / "scores.shard-1-of-3.unfinished.csv").write_text("file\n")
    found = merge(inspector, scans, out, 3)
    assert found.missing == [1, 2]
    errors = {result.file: result.error for result in found.results}
    assert [name for name, error in errors.items() if not error] == ["s0.ply", "s5.ply"]
    assert "s2x.ply: " in errors["s2x.ply"] and "not scored" not in errors["s2x.ply"]
    assert errors["s1.ply"] == "s1.ply: not scored; that is shard 1 of 3, not finished"


def test_results_of_other_settings_are_not_mixed(
    inspector: Inspector, scans: ScanFiles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in (0, 1):
        score(inspector, scans.shard(number, 2), out)
    merge(inspector, scans, out, 2)
    table = (out / "scores.csv").read_bytes()
    with pytest.raises(DataError, match=r"s0\.ply: was scored with detector .*, expected another"):
        merge_shards(scans, out, 2, "another", None, "dense")
    with pytest.raises(DataError, match="was scored with coverage dense, expected sampled"):
        merge_shards(scans, out, 2, inspector.digest, None, "sampled")
    record = out / "s3.ply.regions.json"
    content = json.loads(record.read_text())
    content["made"]["others"] = "good"
    record.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"s3\.ply: .* reference \(others\) good, expected none"):
        merge(inspector, scans, out, 2)
    assert (out / "scores.csv").read_bytes() == table


def test_shards_are_judged_against_good_scans(
    inspector: Inspector, scans: ScanFiles, tmp_path: Path
) -> None:
    write_ply(tmp_path / "in" / "s1a.ply", ellipsoid(9, 60))  # another part, alone in its shard
    scans = find_scans(str(tmp_path / "in" / "s[012]*.ply"))
    good = inspector.remember([ellipsoid(seed) for seed in (50, 51, 52)])
    whole = score(inspector, scans, tmp_path / "whole", reference=good)
    for number in range(5):
        score(inspector, scans.shard(number, 5), tmp_path / "out", reference=good)
    assert merge(inspector, scans, tmp_path / "out", 5).results == whole
    assert [result.judged for result in whole] == [
        *("against 3 good scans", "against 3 good scans", "alone", "against 3 good scans", "")
    ]

    other = inspector.remember([ellipsoid(seed, 90) for seed in (50, 51, 52)])
    for number in range(5):
        score(inspector, scans.shard(number, 5), tmp_path / "out", reference=other)
    with pytest.raises(DataError, match="the reference is of another part"):
        merge(inspector, scans, tmp_path / "out", 5)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_score_shards_and_one_command_merges_them(
    repository: Path,
    detector: Path,
    scans: ScanFiles,
    tmp_path: Path,
    launcher: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugin = launcher.partition("_")[0]
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    monkeypatch.chdir(repository)
    out = tmp_path / "out"
    words = [f"input={scans.root}", f"out={out}", f"detector={detector}", "pictures=false"]
    words += ["shards=3", "device=cpu"]

    def predict(*settings: str) -> object:
        return run_script(repository, "predict.py", *settings)

    assert predict("-m", *words, "shard=range(0,2)", f"hydra/launcher={launcher}") == 0
    tables = sorted(path.name for path in out.glob("*.csv"))
    assert tables == ["scores.shard-0-of-3.csv", "scores.shard-1-of-3.csv"]
    first = (out / "s0.ply.regions.json").stat().st_mtime_ns

    capsys.readouterr()
    assert predict(*words, "merge=true") == 2  # as whenever a scan has no score
    printed = capsys.readouterr().out.splitlines()
    (hint,) = [line for line in printed if line.startswith("not finished")]
    assert hint.startswith("not finished of 3 shards: 2; score them: python scripts/predict.py")
    (out / "viewer.html").unlink()
    assert predict(*shlex.split(hint.partition("predict.py ")[2])) == 0
    assert not (out / "viewer.html").exists()

    capsys.readouterr()
    assert predict(*words, "merge=true") == 2  # for the broken file
    printed = capsys.readouterr().out
    assert "not finished" not in printed and printed.count("ERROR") == 1
    page = (out / "viewer.html").read_text("utf-8")
    assert all(f"s{number}.ply" in page for number in range(6))
    assert (out / "s0.ply.regions.json").stat().st_mtime_ns == first
    left = {path.name for path in repository.iterdir()}
    assert not left & {"multirun", ".hydra", ".submitit", "predict.log"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("shards=4", r"expected -m 'shard=range\(0,4\)' to score all, shard=0 to score one"),
        ("shards=4 shard=4", "shard is 4 with shards=4; expected 0 to 3"),
        ("shards=4 shard=two", "shard is 'two'; expected a whole number of 0 or more"),
        ("shards=0", "shards is 0; expected a whole number of 1 or more"),
        ("shards=4 shard=1 merge=true", "merge=true puts all shards together; leave shard=1 out"),
        ("shards=4 shard=1 together=auto", "a shard has every 4th; leave together out, or give"),
        ("shards=4 merge=true", "no shard of 4 is finished there"),
    ],
)
def test_shards_that_cannot_be(
    words: str,
    message: str,
    detector: Path,
    scans: ScanFiles,
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(repository)
    where = [f"input={scans.root}", f"out={tmp_path / 'out'}", f"detector={detector}"]
    assert run_script(repository, "predict.py", *where, *words.split()) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
