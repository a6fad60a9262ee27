"""Training: every parameter learns, runs repeat, interrupted runs go on, results survive disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import RECIPE, tiny_features, tiny_model

from btp.errors import DataError, WeightsError
from btp.evaluation.scoring import score
from btp.features.store import FeatureSet
from btp.losses import joint_loss
from btp.models.checkpoint import load_detector
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training import loop
from btp.training.loop import learning_rate, train
from btp.training.trainee import make_optimizer, new_trainee


@pytest.fixture(scope="module")
def model() -> PointLanguageModel:
    return tiny_model()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return tiny_features(tmp_path_factory.mktemp("training"))


PLUS = Recipe().changed(
    name="plus",
    patch_temperature=1.0,
    patch_similarity="product",
    gfcm_output="fpfh",
    geo_projection="none",
    fusion="mlp",
    uncovered="nearest",
    gfcm_input="surface",
    projection="mlp",
    shuffle=True,
    drop_last=False,
    epochs=2,
)


@pytest.mark.parametrize("recipe", [RECIPE, PLUS], ids=["paper", "plus"])
def test_every_trainable_parameter_gets_a_gradient(
    data: FeatureSet, model: PointLanguageModel, recipe: Recipe
) -> None:
    trainee = new_trainee(model, recipe, 0)
    features, labels = data.batch(slice(1, 4))
    scores = trainee.detector(features, trainee.text())
    terms = joint_loss(scores, labels, features.fpfh, recipe.loss, recipe.training.geo_temperature)
    terms["total"].backward()
    # a shift before a batch norm is taken off again: these have no effect, hence no gradient but
    # rounding (5e-6 at most; the least of the others is 8e-5)
    shifts = {f"detector.gfcm.mlp{i}.0.bias" for i in (1, 2, 3)}
    for name, parameter in trainee.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.abs().max() > 2e-5) == (name not in shifts), name
    assert all(p.grad is None for p in [*model.points.parameters(), *model.text.parameters()])


def test_optimizer_groups(model: PointLanguageModel) -> None:
    trainee = new_trainee(model, RECIPE, 0)
    names = {id(p): n for n, p in trainee.named_parameters()}
    decayed, plain, prompts = make_optimizer(trainee, RECIPE.training).param_groups
    assert [names[id(p)] for p in prompts["params"]] == ["prompts.context"]
    assert (prompts["base_lr"], prompts["weight_decay"]) == (1e-3, 0)
    assert (plain["base_lr"], plain["weight_decay"]) == (5e-4, 0)
    assert (decayed["base_lr"], decayed["weight_decay"]) == (5e-4, 1e-4)
    assert all(names[id(p)].endswith("bias") for p in plain["params"])
    total = sum(len(g["params"]) for g in (decayed, plain, prompts))
    assert total == len(names)


def test_fixed_prompts_are_not_optimised(model: PointLanguageModel) -> None:
    recipe = RECIPE.changed(prompts="fixed", context_tokens=0)
    assert len(make_optimizer(new_trainee(model, recipe, 0), recipe.training).param_groups) == 2


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate(step, 100, 0.5, RECIPE.training) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[5] == pytest.approx(0.5 * (0.1 + 0.9 * 5 / 10))
    assert rates[10] == pytest.approx(0.5)
    assert rates[55] == pytest.approx((0.5 + 1e-6) / 2)
    assert rates[99] == pytest.approx(
        1e-6 + 0.5 * 0.5 * (1 + math.cos(math.pi * 89 / 90)), rel=1e-4
    )


def test_the_same_seed_gives_the_same_weights(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    kept = [
        train(data, model, PLUS, seed, tmp_path / name, quiet=True).state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert all(torch.equal(kept[0][k], kept[1][k]) for k in kept[0])
    assert not torch.equal(kept[0]["gfcm.fc.2.weight"], kept[2]["gfcm.fc.2.weight"])


@pytest.mark.parametrize("keep", ["last", "lowest_loss"])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    data: FeatureSet,
    model: PointLanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
) -> None:
    recipe = PLUS.changed(epochs=6, keep=keep)  # type: ignore[arg-type]
    monkeypatch.setattr(loop, "RESUME_EVERY", 2)
    whole = train(data, model, recipe, 1, tmp_path / "whole", quiet=True).state_dict()

    real = loop.run_epoch

    def stop(*args: Any) -> dict[str, float]:
        if args[5] == 5:  # the last epoch
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "run_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(data, model, recipe, 1, tmp_path / "cut", quiet=True)
    assert not (tmp_path / "cut" / "detector.safetensors").exists()
    monkeypatch.setattr(loop, "run_epoch", real)
    with pytest.raises(WeightsError, match=r"other settings: recipe.epochs 6, not 2"):
        train(data, model, PLUS, 1, tmp_path / "cut", resume=True, quiet=True)
    resumed = train(data, model, recipe, 1, tmp_path / "cut", resume=True, quiet=True)
    assert all(torch.equal(whole[k], v) for k, v in resumed.state_dict().items())
    assert not (tmp_path / "cut" / "resume.pt").exists()


def test_train_save_load_evaluate_gives_the_same_numbers(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    trained = train(data, model, RECIPE, 3, tmp_path, {"train_cat": "egg"}, quiet=True)
    loaded, encoder, about, recipe, context = load_detector(tmp_path / "detector.safetensors")
    assert encoder == model.config
    assert recipe == RECIPE
    assert context is not None
    assert context.shape == (4, 16)
    assert about["train_cat"] == "egg"
    assert 1 <= about["epoch"] <= 3
    before, after = score(trained, data).measure(), score(loaded, data).measure()
    assert before == after
    assert list((tmp_path / "tensorboard").iterdir())


def test_training_lowers_the_loss_and_moves_the_prompts(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    short = PLUS.changed(epochs=1)
    long = PLUS.changed(epochs=30)
    for name, recipe in (("short", short), ("long", long)):
        train(data, model, recipe, 1, tmp_path / name, quiet=True)
    first, last = (load_detector(tmp_path / n / "detector.safetensors") for n in ("short", "long"))
    assert last[2]["loss"] < first[2]["loss"]
    assert not torch.allclose(first[0].text, last[0].text, atol=1e-4)


def test_the_epoch_of_the_lowest_loss_is_kept(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    real = loop.run_epoch

    def spy(*args: Any) -> dict[str, float]:
        found = real(*args)
        losses.append(found["total"])
        return found

    monkeypatch.setattr(loop, "run_epoch", spy)
    recipe = PLUS.changed(epochs=8, learning_rate=0.05)
    train(data, model, recipe, 1, tmp_path, quiet=True)
    about = load_detector(tmp_path / "detector.safetensors")[2]
    assert about["epoch"] == losses.index(min(losses)) + 1
    assert about["loss"] == pytest.approx(min(losses))


def test_too_few_scans_for_a_batch(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    recipe = RECIPE.changed(batch_size=6)
    with pytest.raises(DataError, match="5 scans do not fill one batch of 6"):
        train(data, model, recipe, 1, tmp_path, quiet=True)


def test_a_geometric_loss_without_gfcm_is_said_to_be_ignored(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    recipe = RECIPE.changed(use_geometry=False, epochs=2)
    with pytest.warns(UserWarning, match=r"loss\.geometry=0\.1 is ignored") as said:
        train(data, model, recipe, 1, tmp_path, quiet=True)
    assert len(said) == 1


def test_an_interrupted_run_of_an_earlier_version_is_refused(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    torch.save({"settings": "a text", "epoch": 3}, tmp_path / "resume.pt")
    with pytest.raises(WeightsError, match="settings: those of an earlier version"):
        train(data, model, RECIPE, 1, tmp_path, resume=True, quiet=True)
    assert (tmp_path / "resume.pt").exists()


def test_bfloat16_stays_near_float32(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    full, half = (
        train(data, model, PLUS, 1, tmp_path / str(b), bfloat16=b, quiet=True)
        for b in (False, True)
    )
    difference = score(full, data).point_scores - score(half, data).point_scores
    assert abs(difference).max() < 0.02
