"""What the scripts share: Hydra's entry point, and a config's dataset, model and store."""

from __future__ import annotations

import functools
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from btp.config import build
from btp.data.catalog import open_dataset
from btp.data.dataset import Dataset
from btp.data.store import FeatureStore
from btp.errors import BTPError, ConfigError
from btp.weights.models import EncoderConfig, PointLanguageModel

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
                _fail(str(error))

        configs = str(ROOT / "configs")
        return hydra.main(version_base="1.3", config_path=configs, config_name=config_name)(task)

    return decorate


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
    names = ("dataset", "encoder", "n_points", "sampling_seed", "store", "outputs", "device")
    return shlex.join(o for o in overrides() if o.split("=")[0].split(".")[0] in names)


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
    """The dataset that the config names."""
    return open_dataset(**plain(config.dataset))


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
