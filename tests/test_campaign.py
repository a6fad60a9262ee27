"""A campaign: resumable at any moment, nothing twice, bad runs named and the rest done."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import CATEGORIES, POINTS, RECIPE, tiny_model, write_tiny_dataset

import btp
from btp.data.folder import Folder
from btp.experiments.baselines import plan_baselines
from btp.experiments.campaign import Campaign
from btp.experiments.protocol import Plan, plan_table
from btp.experiments.record import RunRecord
from btp.experiments.runs import find_runs
from btp.experiments.workspace import Commands, Workspace
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training import loop as training

RECIPES = {"full": RECIPE.changed(epochs=4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("campaign") / "set")


@pytest.fixture(scope="module")
def model() -> PointLanguageModel:
    return tiny_model()


def workspace(folder: Path, model: PointLanguageModel, outputs: Path) -> Workspace:
    settings = {"name": "folder"}
    commands = Commands(("dataset=folder",), ("recipe=tiny",))
    return Workspace(Folder(folder), model, folder.parent / "store", outputs, settings, commands)


def campaign(
    folder: Path, model: PointLanguageModel, outputs: Path, say: Any = len, **given: Any
) -> Campaign:
    return Campaign(workspace(folder, model, outputs), say=say, **given)


def plans_of(table: str = "2", seeds: Sequence[int] = (111,)) -> list[Plan]:
    return plan_table(table, Plan("set", "", 0, RECIPE, POINTS), CATEGORIES, RECIPES, seeds)


def digits(outputs: Path) -> dict[str, RunRecord | None]:
    """The record of each run, wherever it lies."""
    runs = find_runs(outputs, "set", "tiny")
    records = {str(run.folder.relative_to(outputs)): run.record("set") for run in runs}
    return {name: each and replace(each, folder="") for name, each in records.items()}


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, model: PointLanguageModel) -> dict[str, RunRecord | None]:
    outputs = folder.parent / "uninterrupted"
    one = campaign(folder, model, outputs)
    one.train_and_score(plans_of())
    assert one.left_out == []
    found = digits(outputs)
    assert len(found) == 3
    assert all(each and len(each.categories) == 2 for each in found.values())
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_digits(
    folder: Path,
    model: PointLanguageModel,
    uninterrupted: dict[str, RunRecord | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    rng = random.Random(seed)
    left = [rng.randint(1, 6)]
    done = []

    def dying(*args: Any) -> dict[str, float]:
        left[0] -= 1
        if left[0] < 0:
            left[0] = rng.randint(1, 6)
            raise KeyboardInterrupt
        done.append(args)
        return epoch(*args)

    epoch = training.run_epoch
    monkeypatch.setattr(training, "RESUME_EVERY", 1)
    monkeypatch.setattr(training, "run_epoch", dying)
    finished: dict[Path, int] = {}
    for _ in range(30):
        try:
            campaign(folder, model, tmp_path).train_and_score(plans_of())
            break
        except KeyboardInterrupt:
            for path, when in finished.items():  # never done again
                assert path.stat().st_mtime_ns == when
            paths = tmp_path.rglob("detector.safetensors")
            finished = {path: path.stat().st_mtime_ns for path in paths}
    assert digits(tmp_path) == uninterrupted
    assert len(done) == 3 * RECIPES["full"].training.epochs  # nor is any epoch
    assert list(tmp_path.rglob("resume.pt")) == []


def test_what_another_process_is_at_is_left_to_it_and_waited_for(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    first, second, third = plans_of()
    said: list[str] = []
    busy = first.run(tmp_path, "tiny")

    def say(line: str) -> None:
        said.append(Path(line.split(":")[0]).parent.name)
        if len(said) == 2:  # the others are done: the other process ends
            claim.__exit__(None, None, None)

    claim = busy.claimed(wait=False)
    assert claim.__enter__()
    one = campaign(folder, model, tmp_path, say)
    one.train_and_score([first, second, third])
    assert said == ["disc", "egg", "box"]
    assert one.left_out == []


def test_damaged_foreign_and_older_results_are_named_and_the_rest_is_used(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    one = campaign(folder, model, tmp_path)
    one.train_and_score(plans_of(seeds=(111, 112)))
    runs = find_runs(tmp_path, "set", "tiny")
    assert len(one.score(runs)) == 6
    damaged, older, broken = runs[:3]
    damaged.record_path("set").write_text('{"categories": ')
    record = older.record("set")
    assert record is not None
    older.write_record("set", replace(record, btp="0.1.0"))
    broken.detector_path.write_bytes(b"nothing")
    other = tiny_model()
    other.config = replace(other.config, seed=9)
    one = campaign(folder, model, tmp_path)
    kept = one.score(runs)
    assert [result.folder for result in kept] == [str(run.folder) for run in runs[3:]]
    text = "\n".join(one.left_out)
    assert f"{damaged.record_path('set')}: not a result" in text
    assert f"{older.record_path('set')}: measured by version 0.1.0, and this is" in text
    assert str(broken.detector_path) in text
    assert len(one.left_out) == 3

    again = campaign(folder, model, tmp_path, rescore=True)
    kept = again.score(runs)
    assert [r.folder for r in kept] == [str(run.folder) for run in runs if run != broken]

    foreign = campaign(folder, PointLanguageModel(other.config), tmp_path)
    assert foreign.score(runs[3:]) == []
    assert all("was trained on features with encoder_fingerprint" in s for s in foreign.left_out)


def test_baselines_are_kept_and_measured_once(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    base = Plan("set", "", 0, RECIPES["full"].changed(epochs=1), POINTS)
    plans = plan_baselines(("1",), base, CATEGORIES, [111])
    one = campaign(folder, model, tmp_path)
    assert one.records() == []
    one.score_baselines(plans)
    made = one.records()
    assert [record.baseline for record in made] == [
        "btf", "patchcore_encoder", "patchcore_fpfh", *3 * ["ulip_linear"], "ulip_zero_shot",
    ]  # fmt: skip
    for record in made:
        assert sorted(record.categories) == sorted({*CATEGORIES} - {record.train_cat})
        assert record.command.endswith("recipe=tiny n_points=128 table=3 run_missing=true")
    said: list[str] = []
    later = campaign(folder, model, tmp_path, said.append)
    later.score_baselines(plans)
    assert said == []
    assert [repr(each) for each in later.records()] == [repr(each) for each in made]  # nan != nan
    changed = replace(plans[0], settings=replace(base, recipe=base.recipe.changed(epochs=2)))
    later.score_baselines([changed])  # of another recipe
    assert len(said) == 1


def test_a_baseline_of_another_version_is_named_and_measured_again(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    base = replace(plans_of()[0], train_cat="")
    (plan,) = (p for p in plan_baselines(("3",), base, CATEGORIES, [111]) if p.name == "btf")
    campaign(folder, model, tmp_path).score_baselines([plan])
    path = plan.run(tmp_path, "tiny").record_path("set")
    made = path.read_text()
    path.write_text(made.replace(f'"btp": "{btp.__version__}"', '"btp": "0.1.0"'))
    said: list[str] = []
    one = campaign(folder, model, tmp_path, said.append)
    assert one.records() == []
    (refused,) = one.left_out
    assert f"{path}: measured by version 0.1.0, and this is {btp.__version__}" in refused
    one.score_baselines([plan])
    assert said == [f"measured again: {refused}", f"[baseline 1/1] {path.parent}"]
    assert path.read_text() == made


def test_one_run_of_each_recipe_is_drawn_and_any_that_is_asked_for(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    def drawn() -> list[Path]:
        return sorted(path.parent for path in tmp_path.rglob("pictures-set.png"))

    plans = plans_of(seeds=(111, 112))
    variant = RECIPES["full"].changed(variant="mgfem", use_geometry=False)
    plans += [replace(plan, recipe=variant) for plan in plans]
    campaign(folder, model, tmp_path, pictures=1).train_and_score(plans)
    first = sorted(plan.run(tmp_path, "tiny").folder for plan in (plans[0], plans[6]))
    assert drawn() == first
    last = plans[-1].run(tmp_path, "tiny")
    campaign(folder, model, tmp_path, pictures=1, rescore=True).record_of(last)
    assert drawn() == sorted([*first, last.folder])


def test_a_recipe_of_the_same_name_and_other_settings_is_named(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    plans = plans_of()[:2]
    campaign(folder, model, tmp_path).train_and_score(plans[:1])
    changed = Recipe().changed(name="tiny", epochs=4, learning_rate=1e-5)
    one = campaign(folder, model, tmp_path)
    one.train_and_score([replace(p, recipe=changed) for p in plans])
    assert len(one.left_out) == 1
    assert "recipe.learning_rate 0.0005, not 1e-05" in one.left_out[0]
    assert plans[1].run(tmp_path, "tiny").record("set") is not None  # the rest is done
