"""Every config composes and builds; unknown keys fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from btp.config import build
from btp.errors import ConfigError
from btp.experiments.protocol import Plan
from btp.models.point_encoder import PointBERTConfig
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import TextConfig
from btp.recipe import Recipe

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def settings(name: str, *overrides: str) -> dict[str, object]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(name, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def group(name: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / name).glob("*.yaml"))


@pytest.mark.parametrize("recipe", group("recipe"))
def test_every_recipe_builds(recipe: str) -> None:
    built = Recipe.from_flat(settings("train", f"recipe={recipe}")["recipe"])
    assert built.name == recipe


def test_the_paper_s_recipe_is_the_default_in_code_too() -> None:
    built = Recipe.from_flat(settings("train", "dataset=real3d")["recipe"])
    assert built == Recipe()


@pytest.mark.parametrize("recipe", group("recipe"))
@pytest.mark.parametrize("dataset", group("dataset"))
@pytest.mark.parametrize("script", ["train", "eval", "gains", "weights"])
def test_how_long_one_trains_belongs_to_the_data_set(
    script: str, dataset: str, recipe: str
) -> None:
    chosen = [f"dataset={dataset}", f"recipe={recipe}"]
    usual = Recipe.from_flat(settings(script, *chosen)["recipe"])
    assert usual.training.epochs == (10 if dataset == "demo" else 100)
    typed = Recipe.from_flat(settings(script, *chosen, "recipe.epochs=7")["recipe"])
    assert typed.training.epochs == 7


def test_the_paper_s_recipe_lists_all_switches() -> None:
    listed = settings("train", "dataset=real3d")["recipe"].keys()
    assert listed == Recipe().flat().keys()


def test_the_pretraining_has_epochs_of_its_own() -> None:
    assert Recipe.from_flat(settings("pretrain")["recipe"]).training.epochs == 3


def test_the_release_s_recipe_is_what_facts_say() -> None:
    chosen = settings("train", "recipe=release", "dataset=real3d")
    recipe = Recipe.from_flat(chosen["recipe"])
    assert recipe == Recipe().changed(
        name="release",
        prompts="fixed",
        prompt_texts=("normal .", "defective ."),
        context_tokens=0,
        object_score="top20",
        patch_similarity="product",
        patch_temperature=1.0,
        gfcm_output="fpfh",
        geo_projection="none",
        projection="mlp",
        fusion="mlp",
    )


@pytest.mark.parametrize("encoder", group("encoder"))
def test_every_encoder_builds(encoder: str) -> None:
    built = build(EncoderConfig, settings("train", f"encoder={encoder}")["encoder"], "encoder")
    assert built.name == encoder
    assert built.point.embed_dim == built.text.embed_dim


@pytest.mark.parametrize(
    ("dataset", "encoder"),
    [("real3d", "ulip2"), ("anomaly_shapenet", "ulip2"), ("demo", "mini"), ("folder", "mini")],
)
@pytest.mark.parametrize("script", ["train", "eval", "prepare", "gains"])
def test_a_data_set_has_its_usual_encoder_unless_one_is_chosen(
    script: str, dataset: str, encoder: str
) -> None:
    chosen = [f"dataset={dataset}", *(["dataset.root=x"] if dataset == "folder" else [])]
    assert settings(script, *chosen)["encoder"]["name"] == encoder  # type: ignore[index]
    other = settings(script, *chosen, "encoder=mini_untrained")["encoder"]
    assert other["name"] == "mini_untrained"  # type: ignore[index]


def test_ulip2_has_the_published_sizes() -> None:
    built = build(EncoderConfig, settings("train", "encoder=ulip2")["encoder"], "encoder")
    assert (built.point, built.text) == (PointBERTConfig(), TextConfig())
    assert built.text_dtype == "bfloat16"  # frozen weights: half the memory of a learning prompt


@pytest.mark.parametrize("script", ["train", "eval"])
def test_heads_are_trained_in_float32_unless_asked_otherwise(script: str) -> None:
    assert settings(script)["bfloat16"] == "auto"
    assert Plan("demo", "gear", 111, Recipe()).bfloat16 is None


@pytest.mark.parametrize("dataset", group("dataset"))
@pytest.mark.parametrize("script", ["train", "eval", "prepare"])
def test_every_dataset_composes_with_every_script(dataset: str, script: str) -> None:
    assert settings(script, f"dataset={dataset}")["dataset"]["name"] == dataset  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "recipe.epoch is not a setting; did you mean epochs?"),
        ({"zzz": 3}, "recipe.zzz is not a setting; known: batch_size, "),
        ({"loss": {"points": 1.0}}, "recipe.loss.points is not a setting; did you mean point?"),
        (
            {"loss": 0},
            "recipe.loss is 0; expected settings of its own: recipe.loss.point, "
            "recipe.loss.object, recipe.loss.geometry",
        ),
        ({"loss": None}, "recipe.loss is None; expected settings of its own"),
        ({"epochs": "many"}, "recipe.epochs is 'many', a str; expected int"),
        ({"epochs": True}, "recipe.epochs is True, a bool; expected int"),
        ({"projection": "cubic"}, "recipe.projection is 'cubic'; expected one of linear, mlp"),
        ({"epochs": 0}, "recipe.epochs is 0; expected above 0"),
        ({"prompts": False}, "recipe.prompts is False; expected one of learned, fixed"),
        ({"prompt_texts": ["a"]}, "expected two texts, normal and defective"),
        ({"patch_temperature": 0}, "recipe.patch_temperature is 0.0; expected above 0"),
        ({"warmup": 2.0}, "expected a share from 0 to 1"),
        ({"object_alpha": -0.1}, "recipe.object_alpha is -0.1; expected a share from 0 to 1"),
        ({"geo_projection": "none"}, "choose gfcm_output=fpfh, or geo_projection=linear"),
        ({"use_taps": False, "use_geometry": False}, "both off"),
        ({"pro": "standard"}, "recipe.pro is no setting of a recipe"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Recipe.from_flat(changes)
    assert message in str(error.value)


def test_a_flat_recipe_is_the_same_recipe() -> None:
    recipe = Recipe().changed(
        name="other",
        prompt_texts=("a", "b"),
        projection="mlp",
        epochs=3,
        loss={"point": 2.0, "object": 0.0, "geometry": 0.1},
    )
    assert (recipe.prompt.prompt_texts, recipe.loss.point) == (("a", "b"), 2.0)
    assert Recipe.from_flat(recipe.flat()) == recipe
    assert Recipe.from_flat(json.loads(json.dumps(recipe.flat()))) == recipe


def test_files_of_an_earlier_version_are_read() -> None:
    flat = Recipe("plus").flat() | {"pro": "standard"}
    assert Recipe.from_file(flat, "an old file") == Recipe("plus")
    former = {
        "object_alpha": 0.5,
        "patch_similarity": "product",
        "gfcm_output": "fpfh",
        "geo_projection": "none",
        "fusion": "mlp",
    }
    without = {name: value for name, value in flat.items() if name not in former}
    assert Recipe.from_file(without, "an old file") == Recipe("plus").changed(**former)
    with pytest.raises(ConfigError, match=r"an old file\.epoch is not a setting"):
        Recipe.from_file({"epoch": 3}, "an old file")


def test_whole_numbers_are_fine_for_floats() -> None:
    assert Recipe.from_flat({"clip_norm": 2}).training.clip_norm == 2.0
