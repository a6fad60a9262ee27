"""Training a planned run: once, and never over another one of the same name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import POINTS, RECIPE, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.errors import ConfigError, DataError
from btp.experiments.protocol import Plan
from btp.experiments.train_run import train_run
from btp.experiments.workspace import Commands, Workspace
from btp.weights.state_dict import read_metadata


def test_a_finished_run_is_left_as_it_is_and_other_settings_are_named(tmp_path: Path) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "set"))
    commands = Commands(("dataset=folder", "encoder=tiny"), ("recipe=tiny",))
    workspace = Workspace(
        dataset, tiny_model(), tmp_path / "store", tmp_path, {"name": "folder"}, commands
    )
    plan = Plan(dataset.name, "egg", 111, RECIPE.changed(epochs=1), POINTS)

    def again(plan: Plan) -> int:
        run = train_run(plan, workspace, quiet=True)
        assert run is not None
        return run.detector_path.stat().st_mtime_ns

    assert again(plan) == again(plan)
    run = workspace.run(plan)
    header = read_metadata(run.detector_path)
    assert header is not None and header["command"] == (
        "python scripts/train.py dataset=folder encoder=tiny recipe=tiny n_points=128 "
        "train_cat=egg seed=111"
    )
    changed = replace(plan, recipe=plan.recipe.changed(learning_rate=1e-5))
    with pytest.raises(DataError, match=r"trained with recipe.learning_rate 0.0005, not 1e-05"):
        again(changed)
    with pytest.raises(ConfigError, match="baseline is ULIP alone"):
        again(replace(plan, recipe=plan.recipe.changed(variant="baseline")))
    with run.claimed(wait=False) as mine:
        assert mine
        assert train_run(plan, workspace, wait=False) is None
