"""What was typed on a command line, checked and put as Hydra reads it right."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from btp.commands import config_files
from btp.errors import ConfigError

# Names and paths, which may hold what Hydra's grammar reads as something else: letters beyond
# ASCII, brackets, commas, `=`, `${`.
PATHS = {
    *("calibration", "compare", "convert", "corpus", "dataset.root", "demo", "detector"),
    *("encoder.heads", "encoder.point_weights", "encoder.text_weights", "folder", "input"),
    *("normal", "out", "outputs", "parts", "path", "reference", "run", "scan", "source", "start"),
    "store",
}
TEXTS = {"explain", "train_cat"}  # with -m, commas in these are between the runs


def checked(name: str, arguments: Sequence[str], bare: str) -> list[str]:
    """Return the arguments of a command as Hydra reads them right.

    Args:
        name: of the command and its config file.
        arguments: as typed.
        bare: the setting that a word without a name is most likely meant for.

    Raises:
        ConfigError: if a setting is unknown or given twice, or has no name or no possible value.
    """
    # Python's own parser would not take options between settings.
    options, rest = get_args_parser().parse_known_intermixed_args(list(arguments))
    if options.shell_completion:
        return list(arguments)
    for word in rest:
        key, _, value = word.lstrip("-").partition("=")
        raise ConfigError(
            f"{word} is not an option; settings are written name=value: {key}={value or '...'}"
        )
    words = list(options.overrides)
    flags = list((Counter(arguments) - Counter(words)).elements())
    flags = [word for word in arguments if word in flags]
    elsewhere = options.config_name or options.config_path or options.config_dir
    if not elsewhere:
        words = _checked_settings(name, words, bare, bool(options.multirun))
    return [*flags, *words]


def _checked_settings(name: str, words: list[str], bare: str, sweep: bool) -> list[str]:
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word}: settings are written name=value; write {bare}={word}")
    _refuse_twice(words)
    groups = config_files.groups_of(name)
    chosen = [_group_choice(word, groups) for word in words if _key(word) in groups]
    with initialize_config_dir(str(config_files.CONFIGS), version_base="1.3"):
        config = compose(name, overrides=chosen)
    return [
        word if _key(word) in groups else _checked_setting(word, config, groups, sweep)
        for word in words
    ]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _refuse_twice(words: Iterable[str]) -> None:
    first: dict[str, str] = {}
    for word in words:
        key = _key(word)
        if key in first:
            raise ConfigError(
                f"{key} is given twice: {first[key]} and {word}; expected it once. Several files "
                "are a folder or a pattern, such as input='scans/*.ply'"
            )
        first[key] = word


def _group_choice(word: str, groups: Mapping[str, str]) -> str:
    """The same choice of a config file, or the first of several, if it is there."""
    key = _key(word)
    known = config_files.choices_of(key)
    values = list(_values(_parsed(word)))
    for value in values:
        if value not in known:
            expected = f"{', '.join(known)}{_nearest(str(value), known)}"
            raise ConfigError(f"{key} is {value!r}; expected one of {expected}")
    return f"{key}={values[0] if values else groups[key]}"


def _checked_setting(word: str, config: DictConfig, groups: Mapping[str, str], sweep: bool) -> str:
    key, _, value = word.partition("=")
    plain = _key(word)
    if word.startswith("~") or "@" in key or re.match(r"hydra[./]", plain):
        return word
    known = dict(_settings(OmegaConf.to_container(config)))
    if plain not in known and not (key.startswith("+") and "." in plain):
        raise ConfigError(
            f"{plain} is not a setting{_nearest(plain, [*known, *groups])}; --help lists them"
        )
    default = known.get(plain)
    if plain in PATHS and (default is None or isinstance(default, str)):
        return _path_as_typed(key, value, default is None or "." in plain)
    if plain in TEXTS and not sweep:
        return as_typed(key, value)
    if isinstance(default, list) and not sweep and not value.startswith("[") and value != "null":
        word = f"{key}=[{value}]"
    parsed = _parsed(word)
    if parsed.is_sweep_override() and not sweep:
        raise ConfigError(
            f"{word}: found several values, expected one; for a run of each, write -m before the "
            f"settings; a list is written {key}=[{value}]"
        )
    if "." not in plain:  # those of groups are checked by what is built of them
        for each in _values(parsed):
            _check_kind(plain, each, default)
    return word


def _settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All settings by dotted names, groups of settings included."""
    for key, value in config.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parsed(word: str) -> Override:
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, OmegaConfBaseException) as error:
        key, _, value = word.partition("=")
        raise ConfigError(
            f"{word}: Hydra cannot read the value ({str(error).splitlines()[0]}); a text is put "
            f"between quotes: {key}=\"'{value}'\""
        ) from error


def _values(parsed: Override) -> Iterator[Any]:
    if parsed.is_sweep_override():
        yield from parsed.sweep_iterator()
    else:
        yield parsed.value()


def _check_kind(key: str, value: Any, default: Any) -> None:
    """Raise an error if a value is not of its default's kind."""
    if isinstance(value, str) and "${" in value:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, expected = number and isinstance(value, int), f"a whole number, such as {default}"
    elif isinstance(default, float):
        fits, expected = number, f"a number, such as {default}"
    else:
        return
    if not fits:
        raise ConfigError(f"{key} is {value!r}; expected {expected}")


def _path_as_typed(key: str, value: str, nothing: bool) -> str:
    """A path for Hydra; `nothing` tells whether null means none here, and not a folder's name."""
    if value == "":
        raise ConfigError(f"{key} is empty; expected a path: {key}=...")
    if value == "null":
        return "=".join((key, value if nothing else "'null'"))
    if re.match(r"~(/|$)", value):
        value = str(Path(value).expanduser())
    return as_typed(key, value)


def as_typed(key: str, value: str) -> str:
    """Return a setting that Hydra reads as exactly these letters; what is in quotes stays so."""
    word = f"{key}={value}"
    if re.fullmatch(r"'.*'|\".*\"", value, re.DOTALL) or value in ("", "null"):
        return word
    try:
        read = OverridesParser.create().parse_override(word)
        if "${" not in value and not read.is_sweep_override() and read.value() == value:
            return word
    except (HydraException, OmegaConfBaseException):
        pass
    # OmegaConf halves backslashes before `${`; Hydra those before a quote.
    value = re.sub(r"(\\*)\$\{", lambda m: rf"{2 * m[1]}\${{", value)
    value = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + (m[2] and r"\'"), value)
    return f"{key}='{value}'"
