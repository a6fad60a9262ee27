"""The commands of the README, as a user runs them, on a tiny data set."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CATEGORIES, POINTS, write_tiny_dataset

ENCODER = [
    "encoder.point_weights=null",
    "encoder.text_weights=null",
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
    recipe = "paper,n_points=128,epochs=2"  # what was changed is part of the name
    detector = workplace / f"outputs/tiny set/mini/{recipe}/egg/seed111/detector.safetensors"
    assert str(detector) in trained.stdout
    evaluated = run(repository, "eval.py", *settings, "pictures=1")
    assert evaluated.returncode == 0, evaluated.stderr

    folder = workplace / "outputs" / "tiny set" / "mini"
    result = json.loads((folder / "results.jsonl").read_text())
    assert sorted(result["categories"]) == sorted(set(CATEGORIES) - {"egg"})
    assert (result["train_cat"], result["seed"]) == ("egg", 111)
    assert (result["recipe"]["name"], result["recipe"]["epochs"]) == (recipe, 2)
    assert result["command"].startswith("python scripts/train.py dataset=folder")
    table = (folder / "table.md").read_text()
    assert table.strip() in evaluated.stdout
    assert "encoder: untrained" in table
    assert "| box |" in table and "| egg |" not in table
    mean = sum(values["object_ap"] for values in result["categories"].values()) / 2
    assert result["mean"]["object_ap"] == pytest.approx(mean)
    assert f"{100 * mean:.1f}" in table
    for path in evaluated.stdout.splitlines()[-4:]:
        assert Path(path).is_file()

    again = run(repository, "eval.py", *settings)
    assert again.stdout == evaluated.stdout


@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        ("train.py", ["train_cat=eggs"], "unknown category 'eggs'.*Did you mean 'egg'"),
        ("train.py", [], "train_cat has no value"),
        ("train.py", ["train_cat=egg", "+recipe.epoch=3"], "did you mean epochs"),
        ("train.py", ["train_cat=egg", "device=tpu9"], "device is 'tpu9'"),
        ("train.py", ["train_cat=egg", "bfloat16=some"], "expected auto, true or false"),
        ("train.py", ["train_cat=egg", "seed=one"], "seed is 'one'; expected a whole number"),
        ("train.py", ["train_cat=egg", "+colour=red"], "colour is not a setting"),
        ("eval.py", ["run=nowhere"], "nowhere.detector.safetensors: no such file"),
        ("train.py", ["train_cat=egg", "n_points=16"], "n_points is 16.*24 patches"),
        ("eval.py", ["encoder.name=none"], "no finished run to score"),
    ],
)
def test_bad_settings_end_with_one_clear_line(
    repository: Path, workplace: Path, script: str, settings: list[str], message: str
) -> None:
    ended = run(repository, script, *folders(workplace), *ENCODER, *settings)
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
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}/x: no such folder")
    assert "README" in ended.stderr


def test_an_unknown_key_stops_the_run(repository: Path) -> None:
    ended = run(repository, "train.py", "train_cat=vase", "sead=3")
    assert ended.returncode != 0
    assert "Key 'sead' is not in struct" in ended.stderr
