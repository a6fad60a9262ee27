"""The config files of the commands, as they stand in configs/: read without composing them."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import OmegaConf

from btp.runtime.own_files import own_file

CONFIGS = own_file("configs")


def groups_of(name: str) -> dict[str, str]:
    """Return the groups of files that a config chooses from, and its choice of each."""
    groups: dict[str, str] = {}
    for entry in _file(name)["defaults"]:
        if isinstance(entry, dict):
            groups |= {k: v for k, v in entry.items() if re.fullmatch(r"\w+", k)}
        elif entry != "_self_":
            groups |= groups_of(entry)
    return groups


def choices_of(group: str) -> list[str]:
    """Return the names of the files of a group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def settings_of(name: str) -> list[str]:
    """Return a command's settings with their defaults for its help, those without one first."""
    needed, others = [], [f"{key}={value}" for key, value in groups_of(name).items()]
    for key, value in _own_settings(name).items():
        if value == "???":
            needed.append(f"{key}=...")
        elif isinstance(value, dict):
            others.append(f"{key}.*")
        elif value is None or isinstance(value, list):
            others.append(key)
        else:
            others.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    return list(dict.fromkeys(needed + others))


def _own_settings(name: str) -> dict[str, Any]:
    """What the file says, and the one that it begins with, but for groups."""
    settings: dict[str, Any] = {}
    file = _file(name)
    for entry in file.pop("defaults"):
        if isinstance(entry, str) and entry != "_self_":
            settings |= _own_settings(entry)
    return {key: value for key, value in {**settings, **file}.items() if key != "hydra"}


def _file(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))  # type: ignore[return-value]
