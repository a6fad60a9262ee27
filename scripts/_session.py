"""What the scripts share: Hydra's entry point, and a config's dataset, model and store."""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from btp.config import build
from btp.data.catalog import open_dataset
from btp.data.dataset import Dataset
from btp.errors import BTPError, ConfigError
from btp.experiments.protocol import Plan
from btp.features.store import FeatureStore
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.recipe import Recipe
from btp.types import N_POINTS

ROOT = Path(__file__).resolve().parent.parent


def script(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function the main of a script: config in, clear errors and an exit code out."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def task(config: DictConfig) -> None:
            warnings.showwarning = _show_warning
            try:
                _refuse_additions()
                function(config)
            except MissingMandatoryValue as error:
                key = error.full_key
                _fail(f"{key} has no value; set it on the command line: {key}=...")
            except BTPError as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    print(f"error: {error}", file=sys.stderr)
                    raise  # a job of a sweep: the launcher tells the others' fate
                _fail(str(error))

        configs = str(ROOT / "configs")
        if {"-m", "--multirun"} & set(sys.argv):
            _let_jobs_import()
        return hydra.main(version_base="1.3", config_path=configs, config_name=config_name)(task)

    return decorate


def _let_jobs_import() -> None:
    """A sweep's job may be another process, which finds this module by its environment."""
    paths = [str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _refuse_additions() -> None:
    """Hydra adds any key with a plus; at the top nothing would read it."""
    for override in overrides():
        key = override.split("=")[0].lstrip("+")
        if override.startswith("+") and "." not in key:
            raise ConfigError(f"{key} is not a setting; configs/ lists all of them")


def overrides() -> list[str]:
    """The settings of the command line, sorted."""
    return sorted(HydraConfig.get().overrides.task)


def same_data() -> str:
    """Those settings of the command line that say which features are used."""
    return shlex.join(typed("dataset", "encoder", "n_points", "sampling_seed", *_PLACES))


_PLACES = ("store", "outputs", "device")


def typed(*names: str) -> list[str]:
    """The settings of the command line that begin with one of these names."""
    return [o for o in overrides() if o.lstrip("+").split("=")[0].split(".")[0] in names]


def recipe_of(variant: str | None = None) -> Recipe:
    """The recipe of the command line, named after every setting that was changed.

    Args:
        variant: of configs/variant/; None for the one on the command line, or else "full".

    Raises:
        ConfigError: if a setting contradicts the variant.
    """
    choices = HydraConfig.get().runtime.choices
    variant = variant or choices.get("variant", "full")
    # the dataset knows how many epochs
    groups = [f"{group}={choices[group]}" for group in ("dataset", "recipe")]
    own = [o for o in typed("recipe") if o.lstrip("+").startswith("recipe.")]
    of_variant = [*groups, f"variant={variant}"]
    composed = plain(compose("train", of_variant + own).recipe)
    recipe = build(Recipe, composed, "recipe")
    chosen, usual = _flat(composed), _flat(plain(compose("train", of_variant).recipe))
    full = _flat(plain(compose("train", groups).recipe))
    changed = {k: v for k, v in chosen.items() if v != usual.get(k)}
    for key in sorted(changed.keys() & {k for k in usual if usual[k] != full[k]}):
        raise ConfigError(
            f"recipe.{key}={changed[key]} contradicts variant={variant}, which sets it to "
            f"{usual[key]}; leave one of them out"
        )
    if "name" in changed:
        return recipe
    settings = [f"{k}={str(v).lower()}" for k, v in sorted(changed.items())]
    return replace(recipe, name=re.sub(r"[^\w.,=+-]", "_", ",".join([recipe.name, *settings])))


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def plan_from(
    config: DictConfig, dataset: Dataset, recipe: Recipe, train_cat: str = "", seed: int = 0
) -> Plan:
    """The run that the config describes."""
    return Plan(
        dataset=dataset.name,
        train_cat=train_cat,
        seed=seed,
        recipe=recipe,
        n_points=whole(config, "n_points"),
        sampling_seed=whole(config, "sampling_seed"),
        bfloat16=bfloat16_from(config),
    )


def bfloat16_from(config: DictConfig) -> bool | None:
    """Whether to multiply in 16 bit, None for auto."""
    bfloat16 = config.bfloat16
    if bfloat16 != "auto" and not isinstance(bfloat16, bool):
        raise ConfigError(f"bfloat16 is {bfloat16!r}; expected auto, true or false")
    return None if bfloat16 == "auto" else bfloat16


def eval_command(seeds: int) -> str:
    """The command line that measures the baselines of this one's tables."""
    choices = HydraConfig.get().runtime.choices
    settings = [f"{group}={choices[group]}" for group in ("dataset", "encoder", "recipe")]
    settings += [o for o in typed("dataset", "encoder", "recipe") if o not in settings]
    settings += [*typed("n_points", "sampling_seed", *_PLACES), "table=3", "run_missing=true"]
    return shlex.join(["python", "scripts/eval.py", *settings, f"seeds={seeds}"])


def train_command(plan: Plan) -> str:
    """The one command line that trains a planned run, whoever planned it."""
    choices = HydraConfig.get().runtime.choices
    settings = [f"{group}={choices[group]}" for group in ("dataset", "encoder", "recipe")]
    settings += [o for o in typed("dataset", "encoder", "recipe", "bfloat16") if o not in settings]
    if plan.recipe.variant != "full":
        settings.append(f"variant={plan.recipe.variant}")
    if plan.n_points != N_POINTS:
        settings.append(f"n_points={plan.n_points}")
    if plan.sampling_seed:
        settings.append(f"sampling_seed={plan.sampling_seed}")
    settings += [*typed(*_PLACES), f"train_cat={plan.train_cat}", f"seed={plan.seed}"]
    return shlex.join(["python", "scripts/train.py", *settings])


def whole(config: DictConfig, key: str) -> int:
    """A setting that must be a whole number."""
    value = config[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}; expected a whole number")
    return value


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def plain(config: DictConfig) -> dict[str, Any]:
    """A part of the config as a plain dict."""
    return dict(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))  # type: ignore[arg-type]


def dataset_from(config: DictConfig) -> Dataset:
    """The dataset that the config names.

    Raises:
        ConfigError: if its number of epochs was typed; the runs' names would not tell.
    """
    if any(o.lstrip("+").startswith("dataset.epochs=") for o in typed("dataset")):
        raise ConfigError(
            "dataset.epochs is the data set's usual number of epochs, which no run's name tells; "
            "give another one as recipe.epochs=..."
        )
    return open_dataset(**dataset_settings(config))


def dataset_settings(config: DictConfig) -> dict[str, Any]:
    """What the dataset is opened with; its number of epochs is the recipe's concern."""
    return {key: value for key, value in plain(config.dataset).items() if key != "epochs"}


def model_from(config: DictConfig) -> PointLanguageModel:
    """The point-language model that the config names, on its device."""
    encoder = build(EncoderConfig, plain(config.encoder), "encoder")
    return PointLanguageModel(encoder, device_from(config))


def device_from(config: DictConfig) -> torch.device:
    """The device; "auto" is CUDA where there is one."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(config.device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device is {config.device!r}, which cannot be used here "
            f"({str(error).splitlines()[0]}); use device=cpu or device=auto"
        ) from error
    return device


def store_from(config: DictConfig, model: PointLanguageModel) -> FeatureStore:
    """The feature store for a model."""
    n_points, seed = whole(config, "n_points"), whole(config, "sampling_seed")
    return FeatureStore(Path(config.store), model, n_points, seed)


def command() -> str:
    """The command line that started this script, for results."""
    return shlex.join(["python", f"scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]])
