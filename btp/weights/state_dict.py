"""Read weights from disk without running code in them, and load them only if all names fit."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from btp.errors import WeightsError
from btp.runtime.own_files import command_line
from btp.weights.published import known_mistake

FETCH_AGAIN = (
    f"fetch it again: `{command_line('weights')}` lists what is needed and gets it with fetch="
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a .safetensors file, or a PyTorch file without executing anything in it.

    Tensors, plain containers and numbers are accepted, and `argparse.Namespace`, which ULIP-2's
    checkpoint holds; any other pickled object is refused. Large files are mapped, not read: what
    is never used, such as an optimiser's state, costs nothing.

    Raises:
        WeightsError: if the file is missing, not a checkpoint, damaged, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; expected a checkpoint. `{command_line('weights')}` lists what "
            "is needed, and how to fetch it"
        )
    head = _refuse_impostors(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        mapped = head.startswith(b"PK")  # PyTorch's older format cannot be mapped
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # zip, header and tensor errors have no common base
        raise WeightsError(f"{path}: {_what_went_wrong(path, error)}") from error
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}; expected a state dict. {FETCH_AGAIN}"
        )
    return content


def _what_went_wrong(path: Path, error: Exception) -> str:
    """Explain an error of the reading library in the user's terms."""
    text = str(error)
    refused = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", text)
    if isinstance(error, pickle.UnpicklingError) and refused:
        return (
            f"holds the Python object {refused[1]} besides tensors, which could run code when "
            "loaded; nothing in it was run. Get the file from its publisher"
        )
    first_line = text.splitlines()[0] if text else type(error).__name__
    return (
        f"{path.stat().st_size:,} bytes that cannot be read as a checkpoint, most likely an "
        f"incomplete download ({first_line[:120]}); {FETCH_AGAIN}"
    )


def _refuse_impostors(path: Path) -> bytes:
    """Refuse what downloads leave in place of a checkpoint; return the file's first bytes."""
    with path.open("rb") as file:
        head = file.read(256)
    text = head.strip().lower()
    if not head:
        raise WeightsError(f"{path}: the file is empty; {FETCH_AGAIN}")
    if text.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: a Git-LFS pointer, not the weights themselves; run `git lfs pull`, or "
            f"{FETCH_AGAIN}"
        )
    if text.startswith((b"<!doctype html", b"<html")):
        raise WeightsError(
            f"{path}: a web page, not weights (a login or error page was saved); {FETCH_AGAIN}"
        )
    if text.startswith((b"<?xml", b'{"')):
        raise WeightsError(
            f"{path}: a server's message, not weights ({head[:60]!r}); {FETCH_AGAIN}"
        )
    return head


def read_safetensors(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the metadata and all tensors of a .safetensors file.

    Raises:
        SafetensorError: if it is damaged.
        OSError: if it cannot be read.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = file.keys()
        return file.metadata() or {}, {name: file.get_tensor(name) for name in names}


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Read the settings that this project keeps in a .safetensors header; None if there are none.

    Raises:
        WeightsError: if the file is damaged.
    """
    if Path(path).suffix != ".safetensors":
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get("btp")
        return None if about is None else dict(json.loads(about))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: {_what_went_wrong(Path(path), error)}") from error


def check_names_and_shapes(
    expected: Mapping[str, Any], found: Mapping[str, Any], source: str | Path, what: str
) -> None:
    """Raise an error unless two state dicts agree in every name and shape.

    Instead of tensors the values may be anything that has a shape.

    Args:
        expected: of the module.
        found: of the file.
        source: the file, for messages.
        what: the module, for messages.

    Raises:
        WeightsError: saying what the file is, if that is known, or else naming what is missing,
            unexpected, or of another shape.
    """
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    shapes = [
        f"{name} {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name].shape) != tuple(expected[name].shape)
    ]
    titled = {"missing:": missing, "unexpected:": unexpected, "other shape:": shapes}
    problems = [f"{title} {_first(names)}" for title, names in titled.items() if names]
    if not problems:
        return
    mistake = known_mistake(found)
    if mistake is not None:
        raise WeightsError(f"{source}: holds {mistake} ({'; '.join(problems)})")
    raise WeightsError(
        f"{source}: not the weights of this {what}; {'; '.join(problems)}. "
        "Choose the encoder that these weights belong to"
    )


def load_strictly(
    module: nn.Module, state: Mapping[str, Tensor], source: str | Path, assign: bool = False
) -> None:
    """Load `state` into `module`; every name and every shape must agree.

    Args:
        module: to be loaded.
        state: its parameters and buffers.
        source: where they come from, for messages.
        assign: take the tensors themselves, with their type, instead of copying their values; the
            module may then be on the meta device.

    Raises:
        WeightsError: as `check_names_and_shapes`.
    """
    check_names_and_shapes(module.state_dict(), state, source, type(module).__name__)
    module.load_state_dict(state, assign=assign)


def _first(names: list[str], count: int = 4) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return 16 hexadecimal digits that change with any name, shape or value of a state dict."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name}{list(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
