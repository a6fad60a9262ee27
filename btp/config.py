"""Dataclasses from plain nested dicts, as a config file gives them; unknown keys fail."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from btp.errors import ConfigError

T = TypeVar("T")


def build(cls: type[T], settings: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from a mapping.

    Lists become tuples. A mapping becomes a nested dataclass where the field is one.

    Args:
        cls: a dataclass.
        settings: its fields by name; those left out keep their defaults.
        where: what error messages call the mapping, such as "recipe".

    Raises:
        ConfigError: for an unknown key, naming the nearest known one, or a value of another type.
    """
    refuse_unknown(settings, (field.name for field in fields(cls)), where)  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in settings.items():
        kind = hints[key]
        if isinstance(kind, type) and is_dataclass(kind) and not isinstance(value, kind):
            value = _nested(kind, value, f"{where}.{key}")
        elif isinstance(value, list):
            value = tuple(value)
        elif kind in (int, float, bool, str):
            value = _scalar(kind, value, f"{where}.{key}")
        values[key] = value
    return cls(**values)


def refuse_unknown(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ConfigError for the first key that is not a known one, naming the nearest."""
    known = sorted(known)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            raise ConfigError(f"{where}.{key} is not a setting{hint}")


def _nested(kind: type[T], value: Any, where: str) -> T:
    if not isinstance(value, Mapping):
        names = ", ".join(f"{where}.{field.name}" for field in fields(kind))  # type: ignore[arg-type]
        raise ConfigError(f"{where} is {value!r}; expected settings of its own: {names}")
    return build(kind, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not fits:
        raise ConfigError(
            f"{where} is {value!r}, a {type(value).__name__}; expected {kind.__name__}"
        )
    return value
