"""The commands of the README, as a user runs them, on a tiny data set."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import CATEGORIES, POINTS, write_tiny_dataset

ENCODER = [
    "encoder.point_weights=null",
    "encoder.text_weights=null",
    "encoder.heads=null",
    "encoder.point.width=24",
    "encoder.point.heads=2",
    "encoder.point.groups=24",
    "encoder.point.group_size=8",
    "encoder.point.pointnet=[8,16,32]",
    "encoder.point.patch_width=16",
    "encoder.text.layers=1",
    f"n_points={POINTS}",
]


def run(repository: Path, script: str, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "scripts" / script), *settings]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=repository, env=dict(os.environ)
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("work place")
    write_tiny_dataset(root / "tiny set")
    return root


def folders(workplace: Path) -> list[str]:
    return [
        "dataset=folder",
        f"dataset.root='{workplace / 'tiny set'}'",
        f"store='{workplace / 'store'}'",
        f"outputs='{workplace / 'outputs'}'",
    ]


def test_prepare_train_evaluate(repository: Path, workplace: Path) -> None:
    settings = [*folders(workplace), *ENCODER]
    prepared = run(repository, "prepare.py", *settings)
    assert prepared.returncode == 0, prepared.stderr
    assert "egg: 5 test scans" in prepared.stdout
    trained = run(repository, "train.py", *settings, "train_cat=egg", "recipe.epochs=2")
    assert trained.returncode == 0, trained.stderr
    label = "paper,epochs=2,n_points=128"  # what was changed is part of the name
    detector = workplace / f"outputs/tiny set/mini/{label}/egg/seed111/detector.safetensors"
    assert str(detector) in trained.stdout
    evaluated = run(repository, "eval.py", *settings, "pictures=1")
    assert evaluated.returncode == 0, evaluated.stderr

    folder = workplace / "outputs" / "tiny set" / "mini" / "report"
    result = json.loads((folder / "results.jsonl").read_text())
    assert sorted(result["categories"]) == sorted(set(CATEGORIES) - {"egg"})
    assert (result["train_cat"], result["seed"]) == ("egg", 111)
    assert (result["recipe"]["name"], result["recipe"]["epochs"]) == ("paper,epochs=2", 2)
    assert result["command"].startswith("python scripts/train.py dataset=folder")
    assert result["text_fingerprint"] == "untrained, seed 0"
    table = (folder / "tables.md").read_text()
    assert "| box |" in evaluated.stdout
    assert "encoder: untrained" in table
    assert "\n| box |" in table and "\n| egg |" not in table
    mean = sum(values["object_ap"] for values in result["categories"].values()) / 2
    assert result["mean"]["object_ap"] == pytest.approx(mean)
    assert f"{100 * mean:.1f}" in table
    assert "Table 2: 2 of 3 runs missing" in evaluated.stdout
    made_by = "recipe=paper recipe.epochs=2 n_points=128 table=all run_missing=true"
    assert made_by in evaluated.stdout
    for path in evaluated.stdout.splitlines()[-6:]:
        assert Path(path).is_file()

    again = run(repository, "eval.py", *settings)
    assert again.stdout == evaluated.stdout

    # one run, as it was given
    one = run(repository, "eval.py", *settings, f"run='{detector.parent}'")
    assert one.returncode == 0, one.stderr
    assert "| box |" in one.stdout and "Table 1" not in one.stdout


def test_missing_runs_are_made_by_two_jobs_at_once_and_after_one_was_killed(
    repository: Path, workplace: Path
) -> None:
    given = [*folders(workplace), *ENCODER, "recipe=plus", "recipe.epochs=2", "table=2", "seeds=2"]
    given.append("pictures=0")
    command = [sys.executable, str(repository / "scripts" / "eval.py"), *given, "run_missing=true"]
    jobs = [
        subprocess.Popen(command, text=True, cwd=repository, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    folder = workplace / "outputs/tiny set/mini/plus,epochs=2,n_points=128"
    while not list(folder.rglob("detector.safetensors")) and jobs[0].poll() is None:
        time.sleep(0.05)
    jobs[0].kill()
    jobs[0].communicate()
    finished, _ = jobs[1].communicate()
    assert jobs[1].returncode == 0
    made = sorted(folder.rglob("detector.safetensors"))
    assert len(made) == 6
    assert "Table 2, P-AUROC, %, ours" in finished
    assert "missing" not in finished.lower()
    when = [path.stat().st_mtime_ns for path in made]

    # nothing is left to do, and what was trained by hand would be the same run with the same bytes
    again = run(repository, "eval.py", *given, "run_missing=true")
    assert again.stdout.count("trained before") == 6, again.stderr
    assert [path.stat().st_mtime_ns for path in made] == when
    explained = run(repository, "eval.py", *given, "explain='table=2 row=egg col=box'")
    assert explained.returncode == 0, explained.stderr
    by_hand = next(x for x in explained.stdout.splitlines() if x.endswith("train_cat=egg seed=112"))
    detector = folder / "egg/seed112/detector.safetensors"
    content = detector.read_bytes()
    detector.unlink()
    _, script, *settings = shlex.split(by_hand)
    repeated = run(repository, Path(script).name, *settings)
    assert repeated.returncode == 0, repeated.stderr
    assert detector.read_bytes() == content


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_sweep_trains_every_combination_and_leaves_no_litter(
    repository: Path, workplace: Path, launcher: str
) -> None:
    plugin = {"joblib": "joblib", "submitit_local": "submitit"}[launcher]
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    seeds = {"joblib": ("121", "122"), "submitit_local": ("123", "124")}[launcher]
    swept = run(
        repository,
        "train.py",
        "-m",
        *folders(workplace),
        *ENCODER,
        "train_cat=egg",
        f"seed={','.join(seeds)}",
        "variant=mgfem",
        "recipe.epochs=1",
        f"hydra/launcher={launcher}",
    )
    assert swept.returncode == 0, swept.stderr
    folder = workplace / "outputs/tiny set/mini/paper,epochs=1,variant=mgfem,n_points=128/egg"
    made = {path.parent.name for path in folder.rglob("detector.safetensors")}
    assert {f"seed{seed}" for seed in seeds} <= made
    left = {path.name for path in repository.iterdir()}
    assert not left & {"multirun", ".hydra", ".submitit", "train.log"}
    assert (workplace / "outputs" / "sweeps").is_dir()


@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        ("train.py", ["train_cat=eggs"], "train_cat is 'eggs'.*Did you mean egg"),
        ("train.py", [], "train_cat has no value"),
        ("train.py", ["train_cat=egg", "+recipe.epoch=3"], "did you mean epochs"),
        ("train.py", ["train_cat=egg", "dataset.epochs=3"], "give another one as recipe.epochs="),
        ("train.py", ["train_cat=egg", "device=tpu9"], "device is 'tpu9'"),
        ("train.py", ["train_cat=egg", "bfloat16=some"], "expected auto, true or false"),
        ("train.py", ["train_cat=egg", "seed=one"], "seed is 'one'; expected a whole number"),
        ("train.py", ["train_cat=egg", "+colour=red"], "colour is not a setting"),
        ("eval.py", ["run=nowhere"], "nowhere.detector.safetensors: no such file"),
        ("train.py", ["train_cat=egg", "n_points=16"], "n_points is 16.*24 patches"),
        ("eval.py", ["registration=icp"], "registration is 'icp'; expected none or open3d"),
        ("eval.py", ["pro=area"], "pro is 'area'; expected standard or coverage"),
        ("train.py", ["train_cat=egg", "recipe_as_written.epochs=3"], "set recipe.* instead"),
        ("eval.py", ["table=6"], "table is '6'; expected one of 1, 2, 3, 4, 5, or all"),
        ("eval.py", ["explain='row=egg'"], "expected explain='table=2 row=gemstone col=duck'"),
        ("train.py", ["train_cat=egg", "variant=baseline"], "baseline is ULIP alone"),
        (
            "train.py",
            ["train_cat=egg", "variant=mgfem", "recipe.use_geometry=true"],
            "recipe.use_geometry=True contradicts variant=mgfem",
        ),
    ],
)
def test_bad_settings_end_with_one_clear_line(
    repository: Path, workplace: Path, script: str, settings: list[str], message: str
) -> None:
    given = {setting.partition("=")[0]: setting for setting in [*ENCODER, *settings]}
    ended = run(repository, script, *folders(workplace), *given.values())
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert re.search(message, lines[-1]), lines[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("dataset", ["real3d", "anomaly_shapenet"])
def test_an_absent_benchmark_says_where_to_get_it(
    repository: Path, tmp_path: Path, dataset: str
) -> None:
    ended = run(
        repository,
        "train.py",
        f"dataset={dataset}",
        f"dataset.root='{tmp_path}/x'",
        "train_cat=car",
        "encoder=mini",
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}/x: no such folder")
    assert "README" in ended.stderr


@pytest.mark.parametrize(
    ("script", "settings"),
    [("train.py", ["train_cat=car"]), ("prepare.py", []), ("eval.py", ["run_missing=true"])],
)
def test_missing_weights_are_named_before_anything_is_read_or_made(
    repository: Path, tmp_path: Path, script: str, settings: list[str]
) -> None:
    places = [f"{key}='{tmp_path}/{key}'" for key in ("dataset.root", "store", "outputs")]
    weights = f"encoder.point_weights='{tmp_path}/points.safetensors'"
    ended = run(repository, script, "dataset=real3d", *places, weights, *settings)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith(f"error: {tmp_path}/points.safetensors")
    for way in ("scripts/weights.py fetch=ulip2", "encoder=mini", "encoder.point_weights=null"):
        assert way in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "shown", "missing"),
    [
        ("real3d", "| BTP, as printed | 42.9 | 55.9 | 56.3 |", "scripts/weights.py fetch=ulip2"),
        ("anomaly_shapenet", "| BTP, as printed | 65.2", "unpack it with unar"),
        ("demo", "the first of them, in some minutes: python", "the demo set is made there"),
    ],
)
def test_in_a_fresh_clone_tables_what_is_missing_and_commands_are_printed_at_once(
    repository: Path, tmp_path: Path, dataset: str, shown: str, missing: str
) -> None:
    places = [f"{key}='{tmp_path}/{key}'" for key in ("dataset.root", "store", "outputs")]
    weights = [] if dataset == "demo" else [f"encoder.point_weights='{tmp_path}/points'"]
    ended = run(repository, "eval.py", f"dataset={dataset}", *places, *weights)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shown in ended.stdout
    assert "Table 1: 3 of 3 runs missing" in ended.stdout
    assert f"scripts/train.py dataset={dataset}" in ended.stdout
    lines = [line for line in ended.stdout.splitlines() if line.startswith("not here: ")]
    assert any(missing in line for line in lines)
    made = {path.name for path in tmp_path.iterdir()}  # nothing but the report of quoted tables
    assert made == (set() if dataset == "demo" else {"outputs"})


def test_an_unknown_variant_stops_the_run(repository: Path) -> None:
    ended = run(repository, "train.py", "train_cat=vase", "variant=mgfen")
    assert ended.returncode != 0
    assert "variant is 'mgfen'; expected one of baseline" in ended.stderr
    assert "did you mean mgfem?" in ended.stderr


def test_an_unknown_key_stops_the_run(repository: Path) -> None:
    ended = run(repository, "train.py", "train_cat=vase", "sead=3")
    assert ended.returncode != 0
    assert "sead is not a setting; did you mean seed?" in ended.stderr
