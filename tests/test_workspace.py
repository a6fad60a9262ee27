"""A workspace: the commands that make its runs, where they lie, and what it keeps loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import POINTS, RECIPE, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.errors import ConfigError
from btp.experiments.baselines import BaselinePlan
from btp.experiments.protocol import Plan
from btp.experiments.workspace import Commands, Workspace
from btp.recipe import Recipe

COMMANDS = Commands(("dataset=real3d", "outputs=my runs"), ("recipe=plus", "recipe.epochs=2"))


def test_a_command_says_all_that_is_unusual() -> None:
    usual = Plan("real3d", "car", 111, RECIPE)
    assert COMMANDS.train(usual) == (
        "python scripts/train.py dataset=real3d 'outputs=my runs' recipe=plus recipe.epochs=2 "
        "train_cat=car seed=111"
    )
    odd = Plan("real3d", "car", 111, Recipe(variant="mgfem"), 1024, 3, bfloat16=False)
    assert COMMANDS.train(odd).endswith(
        "variant=mgfem n_points=1024 sampling_seed=3 bfloat16=false train_cat=car seed=111"
    )
    assert COMMANDS.complete("all", usual, recipe=["recipe=paper"]) == (
        "python scripts/eval.py dataset=real3d 'outputs=my runs' recipe=paper table=all "
        "run_missing=true"
    )
    baseline = BaselinePlan("ulip_linear", Plan("real3d", "car", 113, RECIPE))
    assert COMMANDS.baseline(baseline).endswith("table=3 run_missing=true seeds=3")  # 111 to 113


def test_features_of_one_sampling_are_kept_at_a_time(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "set"))
    workspace = Workspace(dataset, tiny_model(), tmp_path / "store", tmp_path / "outputs")
    first = workspace.store(POINTS)
    assert workspace.store(POINTS) is first
    assert (first.n_points, first.seed) == (POINTS, 0)
    other = workspace.store(POINTS, 1)
    assert (other.n_points, other.seed) == (POINTS, 1)
    assert workspace.store(POINTS) is not first
    with pytest.raises(ConfigError, match="n_points is 8, and the encoder tiny makes 24 patches"):
        workspace.store(8)
    run = workspace.run(Plan("set", "egg", 111, RECIPE, POINTS))
    assert run.folder == tmp_path / "outputs/set/tiny/tiny,n_points=128/egg/seed111"
    assert run.folder.parents[2] == workspace.runs_folder


def test_the_scans_are_looked_at_once_for_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "set"))
    workspace = Workspace(dataset, tiny_model(), tmp_path / "store", tmp_path / "outputs")
    expected = dataset.fingerprint()
    calls: list[str] = []
    monkeypatch.setattr(Folder, "fingerprint", lambda _: calls.append("scans") or expected)
    monkeypatch.setattr(Folder, "problems", lambda _: calls.append("problems") or "none")
    for _ in range(2):
        assert (workspace.scans, workspace.problems) == (expected, "none")
    assert calls == ["scans", "problems"]
    assert replace(workspace).scans == expected  # another workspace looks again
    assert calls == ["scans", "problems", "scans"]
