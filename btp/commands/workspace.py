"""What a config names: encoder, dataset, workspace, recipe and plan."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from btp.commands import config_files
from btp.commands.settings import bfloat16_from, device_from, plain, typed, whole
from btp.config import build
from btp.data.catalog import find_dataset, open_dataset
from btp.data.dataset import Dataset
from btp.errors import ConfigError, DataError, WeightsError
from btp.experiments.protocol import Plan
from btp.experiments.workspace import Commands, Workspace
from btp.models.point_language import EncoderConfig, PointLanguageModel, require_weights
from btp.recipe import Recipe


def encoder_from(config: DictConfig) -> EncoderConfig:
    """Return the sizes and weight files of the encoder that the config names."""
    return build(EncoderConfig, plain(config.encoder), "encoder")


def model_from(config: DictConfig) -> PointLanguageModel:
    """Return the point-language model that the config names, on its device."""
    return PointLanguageModel(encoder_from(config), device_from(config))


def check_weights(config: DictConfig, trains: bool = False) -> None:
    """Raise an error if weights are missing that the config's work needs.

    Args:
        config: names the encoder and, if heads are trained, the recipe.
        trains: whether heads are trained.

    Raises:
        WeightsError: as `require_weights`.
    """
    text = trains and config.recipe.prompts == "learned"
    require_weights(encoder_from(config), text, trains and config.recipe.heads == "pretrained")


def workspace_from(config: DictConfig, trains: bool = False) -> Workspace:
    """Open the dataset and the encoder that the config names, and say where their runs are kept.

    Args:
        config: of a script.
        trains: whether heads will be trained, which needs more weights than scoring.

    Raises:
        WeightsError: if weights are missing; nothing was read or made then.
        ConfigError: if the dataset's number of epochs was typed.
        DataError: if the dataset is not there.
    """
    check_weights(config, trains)
    settings = dataset_settings(config)
    return Workspace(
        dataset=open_dataset(**settings),
        model=model_from(config),
        features=Path(config.store),
        outputs=Path(config.outputs),
        dataset_settings=settings,
        commands=commands_from(config),
    )


def on_disk(config: DictConfig) -> tuple[Dataset | None, list[str]]:
    """Look for what scoring needs, and generate nothing.

    Returns:
        The dataset, None if it is not there; and what is missing, of dataset and weights.

    Raises:
        ConfigError: if the settings are wrong.
    """
    dataset, missing = None, []
    try:
        check_weights(config)
    except WeightsError as error:
        missing.append(str(error))
    try:
        dataset = find_dataset(**dataset_settings(config))
    except DataError as error:
        missing.append(str(error))
    return dataset, missing


def dataset_settings(config: DictConfig) -> dict[str, Any]:
    """Return what the dataset is opened with.

    Raises:
        ConfigError: if its number of epochs was typed; the runs' names would not tell.
    """
    if any(o.lstrip("+").startswith("dataset.epochs=") for o in typed("dataset")):
        raise ConfigError(
            "dataset.epochs is the data set's usual number of epochs, which no run's name tells; "
            "give another one as recipe.epochs=..."
        )
    return {key: value for key, value in plain(config.dataset).items() if key != "epochs"}


def commands_from(config: DictConfig) -> Commands:
    """Return the writer of command lines with the settings that were typed."""
    return Commands(
        data=(*_words("dataset", "encoder"), *typed("store", "outputs", "device")),
        recipe=tuple(_words("recipe")) if "recipe" in config else (),
    )


def _words(*groups: str) -> list[str]:
    """The config files chosen of these groups, and what was typed of their settings."""
    choices = HydraConfig.get().runtime.choices
    chosen = [f"{group}={choices[group]}" for group in groups]
    return chosen + [word for word in typed(*groups) if word not in chosen]


def plan_from(config: DictConfig, dataset: str, train_cat: str = "", seed: int = 0) -> Plan:
    """Return the run on a dataset of this name that the config describes."""
    return Plan(
        dataset=dataset,
        train_cat=train_cat,
        seed=seed,
        recipe=recipe_of(config),
        n_points=whole(config, "n_points"),
        sampling_seed=whole(config, "sampling_seed"),
        bfloat16=bfloat16_from(config),
    )


def recipe_of(config: DictConfig, variant: str | None = None) -> Recipe:
    """Return the config's recipe, named after every setting that differs from the recipe's file.

    Args:
        config: its `recipe` is as chosen, its `recipe_as_written` as the recipe's file says.
        variant: of configs/variant/; None for the config's own.

    Raises:
        ConfigError: if a setting contradicts the variant.
    """
    if typed("recipe_as_written"):
        raise ConfigError("recipe_as_written only tells what was changed; set recipe.* instead")
    chosen, written = _flat(plain(config.recipe)), _flat(plain(config.recipe_as_written))
    own = _of_variant(chosen.get("variant", "full"))
    changed = {k: v for k, v in chosen.items() if v != (written | own).get(k)}
    wanted = own if variant is None else _of_variant(variant)
    for key in sorted(changed.keys() & wanted.keys()):
        raise ConfigError(
            f"recipe.{key}={changed[key]} contradicts variant={wanted['variant']}, which sets it "
            f"to {wanted[key]}; leave one of them out"
        )
    recipe = Recipe.from_flat(_nested(written | wanted | changed))
    if "name" in changed:
        return recipe
    settings = [f"{k}={str(v).lower()}" for k, v in sorted(changed.items())]
    return replace(recipe, name=re.sub(r"[^\w.,=+-]", "_", ",".join([recipe.name, *settings])))


def _of_variant(name: str) -> dict[str, Any]:
    """What a row of Table 4 sets of a recipe, by dotted names."""
    file = OmegaConf.load(config_files.CONFIGS / "variant" / f"{name}.yaml")
    return _flat(plain(file.recipe))


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The reverse of `_flat`."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        place = nested
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return nested
