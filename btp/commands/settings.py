"""What commands share: Hydra's entry point, the command line, and reading single settings."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from btp.commands import config_files
from btp.commands.entry import fail
from btp.errors import BTPError, ConfigError
from btp.runtime.own_files import command_line
from btp.runtime.processor import chosen_device, use_full_width


def script(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function the main of a command: config in, clear errors and an exit code out."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def task(config: DictConfig) -> None:
            warnings.showwarning = _show_warning
            use_full_width()  # a program may; the library changes nothing of its process
            try:
                function(config)
            except MissingMandatoryValue as error:
                key = error.full_key
                fail(f"{key} has no value; set it on the command line: {key}=...")
            except BTPError as error:
                if in_a_sweep():
                    print(f"error: {error}", file=sys.stderr)
                    raise  # a job of a sweep: the launcher tells the others' fate
                fail(str(error))

        def main() -> None:
            configs = str(config_files.CONFIGS)
            hydra.main(version_base="1.3", config_path=configs, config_name=config_name)(task)()

        return main

    return decorate


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def in_a_sweep() -> bool:
    """Tell whether this is one of the runs of `-m`."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def overrides() -> list[str]:
    """Return the settings of the command line, sorted."""
    return sorted(HydraConfig.get().overrides.task)


def typed(*names: str) -> list[str]:
    """Return the settings of the command line that begin with one of these names."""
    return [o for o in overrides() if o.lstrip("+").split("=")[0].split(".")[0] in names]


def command() -> str:
    """Return the command line that started this command."""
    return command_line(str(HydraConfig.get().job.config_name), *sys.argv[1:])


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a part of the config as a plain dict."""
    return dict(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))  # type: ignore[arg-type]


def whole(config: DictConfig, key: str, least: int | None = None) -> int:
    """Return a setting that must be a whole number, and not below `least`."""
    value = config[key]
    fits = isinstance(value, int) and not isinstance(value, bool)
    if not fits or (least is not None and value < least):
        expected = "a whole number" + ("" if least is None else f" of {least} or more")
        raise ConfigError(f"{key} is {value!r}; expected {expected}")
    return value


def whole_or_none(config: DictConfig, key: str, least: int = 1) -> int | None:
    """Return a setting that must be null, or a whole number not below `least`."""
    return None if config[key] is None else whole(config, key, least)


def bfloat16_from(config: DictConfig) -> bool | None:
    """Return whether to multiply in 16 bit, None for auto."""
    bfloat16 = config.bfloat16
    if bfloat16 != "auto" and not isinstance(bfloat16, bool):
        raise ConfigError(f"bfloat16 is {bfloat16!r}; expected auto, true or false")
    return None if bfloat16 == "auto" else bfloat16


def device_from(config: DictConfig) -> torch.device:
    """Return the device that a config names, as `chosen_device`."""
    return chosen_device(str(config.device))
