"""A campaign: resumable at any moment, nothing twice, bad runs named and the rest done."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from tiny import CATEGORIES, POINTS, RECIPE, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.experiments import campaign as campaign_module
from btp.experiments import seeds
from btp.experiments.baseline_runs import plan_baselines
from btp.experiments.campaign import Campaign
from btp.experiments.protocol import Plan, plan_table
from btp.experiments.runs import find_runs
from btp.features.cache import SharedStore
from btp.features.store import FeatureStore
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training import loop as training
from btp.training import resume as progress
from btp.training.side_by_side import Job

RECIPES = {"full": replace(RECIPE, epochs=4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("campaign") / "set")


@pytest.fixture(scope="module")
def model() -> PointLanguageModel:
    return tiny_model()


def campaign(folder: Path, model: PointLanguageModel, outputs: Path, **given: Any) -> Campaign:
    store = folder.parent / "store"
    return Campaign(Folder(folder), model, store, outputs, say=lambda line: None, **given)


def plans_of(table: str = "2", seeds: Sequence[int] = (111,)) -> list[Plan]:
    return plan_table(table, Plan("set", "", 0, RECIPE, POINTS), CATEGORIES, RECIPES, seeds)


def command(plan: Plan) -> str:
    return f"train {plan.train_cat}"


def digits(outputs: Path) -> dict[str, Any]:
    """What was measured of each run; its speed is no part of that."""
    runs = find_runs(outputs, "set", "tiny")
    results = {str(run.folder.relative_to(outputs)): run.result("set") for run in runs}
    return {
        name: {k: v for k, v in (result or {}).items() if k != "clouds_per_second"}
        for name, result in results.items()
    }


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, model: PointLanguageModel) -> dict[str, Any]:
    outputs = folder.parent / "uninterrupted"
    one = campaign(folder, model, outputs)
    one.train_and_score(plans_of(), command, {"name": "folder"})
    assert one.left_out == []
    found = digits(outputs)
    assert len(found) == 3
    assert all(len(result["categories"]) == 2 for result in found.values())
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_digits(
    folder: Path,
    model: PointLanguageModel,
    uninterrupted: dict[str, Any],
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
    monkeypatch.setattr(progress, "RESUME_EVERY", 1)
    monkeypatch.setattr(training, "run_epoch", dying)
    finished: dict[Path, int] = {}
    for _ in range(30):
        try:
            campaign(folder, model, tmp_path).train_and_score(
                plans_of(), command, {"name": "folder"}
            )
            break
        except KeyboardInterrupt:
            for path, when in finished.items():  # never done again
                assert path.stat().st_mtime_ns == when
            paths = tmp_path.rglob("detector.safetensors")
            finished = {path: path.stat().st_mtime_ns for path in paths}
    assert digits(tmp_path) == uninterrupted
    assert len(done) == 3 * RECIPES["full"].epochs  # nor is any epoch
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
    one = Campaign(Folder(folder), model, folder.parent / "store", tmp_path, say=say)
    one.train_and_score([first, second, third], command, {"name": "folder"})
    assert said == ["disc", "egg", "box"]
    assert one.left_out == []


def test_damaged_foreign_and_older_results_are_named_and_the_rest_is_used(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    one = campaign(folder, model, tmp_path)
    one.train_and_score(plans_of(seeds=(111, 112)), command, {"name": "folder"})
    runs = find_runs(tmp_path, "set", "tiny")
    assert len(one.score(runs)) == 6
    damaged, older, broken = runs[:3]
    damaged.result_path("set").write_text('{"categories": ')
    result = older.result("set")
    assert result is not None
    older.write_result("set", result | {"btp": "0.0.1"})
    broken.detector_path.write_bytes(b"nothing")
    other = tiny_model()
    other.config = replace(other.config, seed=9)
    one = campaign(folder, model, tmp_path)
    kept = one.score(runs)
    assert [result.folder for result in kept] == [str(run.folder) for run in runs[3:]]
    text = "\n".join(one.left_out)
    assert f"{damaged.result_path('set')}: not a result" in text
    assert "measured by version 0.0.1" in text
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
    base = Plan("set", "", 0, replace(RECIPES["full"], epochs=1), POINTS)
    plans = plan_baselines(("1",), base, CATEGORIES, [111])
    one = campaign(folder, model, tmp_path)
    assert one.baselines(plans, "", run_missing=False) == []
    made = one.baselines(plans, "eval", run_missing=True)
    assert [result.about["baseline"] for result in made] == [
        "ulip_zero_shot", *3 * ["ulip_linear"], "btf", "patchcore_fpfh", "patchcore_encoder",
    ]  # fmt: skip
    for result in made:
        assert sorted(result.categories) == sorted({*CATEGORIES} - {result.train_cat})
    later = campaign(folder, model, tmp_path)
    known = later.baselines(plans, "", run_missing=False)
    assert json.dumps([r.about for r in known]) == json.dumps([r.about for r in made])
    assert later.shares.spent["scoring"] == 0
    changed = [
        replace(plans[0], settings=replace(base, recipe=replace(base.recipe, pro="standard")))
    ]
    assert later.baselines(changed, "", run_missing=False) == []  # of another recipe


def test_runs_share_what_is_loaded_within_the_memory_given(
    folder: Path, model: PointLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def counted(self: FeatureStore, dataset: Any, category: str, *rest: Any) -> Any:
        loads.append(category)
        return load(self, dataset, category, *rest)

    load = FeatureStore.load
    monkeypatch.setattr(FeatureStore, "load", counted)
    dataset = Folder(folder)
    plain = FeatureStore(folder.parent / "store", model, POINTS)
    shared = SharedStore(plain)
    first = shared.load(dataset, "egg", "test", fpfh_cloud="sampled")
    assert shared.load(dataset, "egg", "test") is first  # holds more than was asked for
    more = shared.load(dataset, "egg", "test", surface=True)
    assert more.features.surface is not None
    assert more.features.fpfh is not None
    assert shared.load(dataset, "egg", "test", fpfh_cloud="sampled") is more
    assert loads == ["egg", "egg"]
    none = SharedStore(plain, limit=0)
    for _ in range(2):
        assert len(none.load(dataset, "box", "test")) == 5
    assert loads[2:] == ["box", "box"]
    assert none.seconds > 0


def test_one_run_of_each_recipe_is_drawn_and_any_that_is_asked_for(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    def drawn() -> list[Path]:
        return sorted(path.parent for path in tmp_path.rglob("pictures-set.png"))

    plans = plans_of(seeds=(111, 112))
    variant = replace(RECIPES["full"], variant="mgfem", use_geometry=False)
    plans += [replace(plan, recipe=variant) for plan in plans]
    campaign(folder, model, tmp_path, pictures=1).train_and_score(
        plans, command, {"name": "folder"}
    )
    first = sorted(plan.run(tmp_path, "tiny").folder for plan in (plans[0], plans[6]))
    assert drawn() == first
    last = plans[-1].run(tmp_path, "tiny")
    campaign(folder, model, tmp_path, pictures=1, rescore=True).result_of(last)
    assert drawn() == sorted([*first, last.folder])


def test_a_recipe_of_the_same_name_and_other_settings_is_named(
    folder: Path, model: PointLanguageModel, tmp_path: Path
) -> None:
    plans = plans_of()[:2]
    campaign(folder, model, tmp_path).train_and_score(plans[:1], command, {"name": "folder"})
    changed = Recipe(name="tiny", epochs=4, learning_rate=1e-5)
    one = campaign(folder, model, tmp_path)
    one.train_and_score([replace(p, recipe=changed) for p in plans], command, {"name": "folder"})
    assert len(one.left_out) == 1
    assert "recipe.learning_rate 0.0005, not 1e-05" in one.left_out[0]
    assert plans[1].run(tmp_path, "tiny").result("set") is not None  # the rest is done


def test_on_cuda_what_is_left_of_the_seeds_is_trained_side_by_side(
    folder: Path, model: PointLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_module, "SIDE_BY_SIDE_ON", "cpu")
    together: list[tuple[str, list[int]]] = []

    def spy(
        data: Any, model: Any, recipe: Any, jobs: Sequence[Job], *rest: Any, **more: Any
    ) -> Any:
        together.append((data.category, [job.seed for job in jobs]))
        return real(data, model, recipe, jobs, *rest, **more)

    real = seeds.train_side_by_side
    monkeypatch.setattr(seeds, "train_side_by_side", spy)
    plans = plans_of(seeds=(111, 112, 113, 114))
    done = next(plan for plan in plans if (plan.train_cat, plan.seed) == ("box", 112))
    campaign(folder, model, tmp_path / "alone").train_and_score([done], command, {"name": "folder"})
    assert together == []  # a single one
    shutil.copytree(tmp_path / "alone", tmp_path / "out")
    busy = next(plan for plan in plans if (plan.train_cat, plan.seed) == ("box", 113))
    said: list[str] = []
    claim = busy.run(tmp_path / "out", "tiny").claimed(wait=False)
    assert claim.__enter__()

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 14:  # three groups and eleven of twelve runs: the other process ends
            claim.__exit__(None, None, None)

    one = Campaign(Folder(folder), model, folder.parent / "store", tmp_path / "out", say=say)
    one.train_and_score(plans, command, {"name": "folder"})
    assert together == [
        ("box", [111, 114]), ("disc", [111, 112, 113, 114]), ("egg", [111, 112, 113, 114]),
    ]  # fmt: skip
    assert one.left_out == []
    assert len(digits(tmp_path / "out")) == 12
    assert said[0].endswith("box: 2 seeds trained side by side")
    assert "seed113: trained in" in said[-1]
    monkeypatch.undo()
    campaign(folder, model, tmp_path / "alone").train_and_score(
        plans[:6], command, {"name": "folder"}
    )
    others = digits(tmp_path / "out")
    for name, alone in digits(tmp_path / "alone").items():
        found = others[name]
        assert found.pop("loss") == pytest.approx(alone.pop("loss"), rel=1e-4)
        differing = {key for key, value in alone.items() if found[key] != value}
        assert differing <= {"detector", "categories", "mean"}  # by rounding


def test_what_cannot_be_trained_side_by_side_is_trained_alone_and_named(
    folder: Path, model: PointLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_module, "SIDE_BY_SIDE_ON", "cpu")
    monkeypatch.setattr(
        seeds, "train_side_by_side", Mock(side_effect=torch.OutOfMemoryError("no room"))
    )
    plans = [plan for plan in plans_of(seeds=(111, 112)) if plan.train_cat == "box"]
    foreign = replace(plans[0], recipe=replace(plans[0].recipe, epochs=1))
    one = campaign(folder, model, tmp_path)
    one.train_and_score(plans, command, {"name": "folder"})
    assert one.left_out == []
    assert len(digits(tmp_path)) == 2
    one.train_and_score([foreign], command, {"name": "folder"})
    assert "recipe.epochs 4, not 1" in one.left_out[0]
