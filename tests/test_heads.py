"""Trainings that start from the heads that come with an encoder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import ENCODER, tiny_features, tiny_model

from btp.errors import ConfigError, WeightsError
from btp.features.store import FeatureSet
from btp.models.checkpoint import CONTEXT, load_detector
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training.loop import train
from btp.training.trainee import new_trainee
from btp.weights.state_dict import read_metadata

MADE_WITH = Recipe().changed(name="corpus", gfcm_input="surface", projection="mlp", epochs=2)
RECIPE = MADE_WITH.changed(name="plus", heads="pretrained", epochs=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return tiny_features(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory, data: FeatureSet) -> Path:
    """A detector's file."""
    folder = tmp_path_factory.mktemp("detector")
    model = tiny_model()
    about = {
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
    }
    train(data, model, MADE_WITH, 5, folder, about, quiet=True)
    return folder / "detector.safetensors"


def model_with(heads: Path | None) -> PointLanguageModel:
    return PointLanguageModel(dataclasses.replace(ENCODER, heads=heads and str(heads)))


def test_a_training_starts_where_the_heads_are(data: FeatureSet, heads: Path) -> None:
    trainee = new_trainee(model_with(heads), RECIPE, 1).eval()
    trained = load_detector(heads)[0]
    assert trainee.prompts is not None
    features = data.batch(slice(0, 4))[0]
    with torch.no_grad():
        torch.testing.assert_close(trainee.text(), trained.text)
        found, expected = trainee.detector(features, trainee.text()), trained(features)
    torch.testing.assert_close(found.point_logits, expected.point_logits)
    torch.testing.assert_close(found.object_logits, expected.object_logits)


def test_pretrained_norms_keep_their_statistics_and_all_else_learns(
    data: FeatureSet, heads: Path, tmp_path: Path
) -> None:
    found = train(data, model_with(heads), RECIPE, 1, tmp_path, {"n": 1}, quiet=True).state_dict()
    before = load_detector(heads)[0].state_dict()
    for name, tensor in before.items():
        statistics = "running" in name or "num_batches" in name
        assert torch.equal(found[name], tensor) == statistics, name


@pytest.mark.parametrize("switch", ["use_taps", "use_geometry"])
def test_a_variant_starts_with_the_parts_that_it_has(heads: Path, switch: str) -> None:
    recipe = RECIPE.changed(**{switch: False})
    own = new_trainee(model_with(heads), recipe, 1).detector
    trained = load_detector(heads)[0]
    columns = trained.mgfem.fusion[0].weight.chunk(3, dim=1)  # taps, geometry, CLS token
    kept = columns[1:2] if switch == "use_taps" else (columns[0], columns[2])
    assert torch.equal(own.mgfem.fusion[0].weight, torch.cat(kept, dim=1))
    theirs = trained.state_dict()
    for name, tensor in own.state_dict().items():
        if name not in ("text", "mgfem.fusion.0.weight"):
            assert torch.equal(tensor, theirs[name]), name


def test_heads_are_new_where_none_come_with_the_encoder() -> None:
    new = RECIPE.changed(heads="new")
    states = []
    for recipe in (RECIPE, new):
        states.append(new_trainee(model_with(None), recipe, 2))
    assert states[0].detector.gfcm is not None
    assert states[0].detector.gfcm.training
    for name, tensor in states[0].state_dict().items():
        assert torch.equal(tensor, states[1].state_dict()[name]) or name == "detector.text"


def test_prompts_of_another_text_tower_are_not_taken(heads: Path, tmp_path: Path) -> None:
    state, about = load_file(heads), read_metadata(heads)
    assert about is not None
    about["text_fingerprint"] = "another"
    save_file(state, tmp_path / "other.safetensors", metadata={"btp": json.dumps(about)})
    found = []
    for file in (heads, tmp_path / "other.safetensors"):
        prompts = new_trainee(model_with(file), RECIPE, 1).prompts
        assert prompts is not None
        found.append(torch.equal(prompts.context, state[CONTEXT]))
    assert found == [True, False]


def test_heads_that_do_not_fit_are_refused(heads: Path) -> None:
    for switch, value in (("gfcm_input", "absolute"), ("projection", "linear")):
        other = RECIPE.changed(**{switch: value})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"{switch} is {value}.*recipe.heads=new"):
            new_trainee(model_with(heads), other, 1)
    changed = PointLanguageModel(dataclasses.replace(ENCODER, seed=1, heads=str(heads)))
    with pytest.raises(WeightsError, match="heads of encoder"):
        new_trainee(changed, RECIPE, 1)
