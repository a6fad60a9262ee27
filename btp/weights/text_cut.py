"""Cutting the text tower out of a whole OpenCLIP model, into a 16-bit file.

Of a .safetensors file only the header and the text tensors' bytes are read, wherever the file is:
about a quarter of ViT-bigG-14's 10 GB. Memory stays below a few blocks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from btp.errors import WeightsError
from btp.runtime.files import write_bytes
from btp.weights.download import Source
from btp.weights.published import text_tower_state
from btp.weights.state_dict import check_names_and_shapes, read_checkpoint

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_HEADER_LIMIT = 100_000_000  # bytes, as the format's own library has it


@dataclass(frozen=True)
class _Entry:
    """A tensor in a .safetensors file: its type, its shape, and the bytes where it lies."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class TextCut:
    """What to read of a whole model, and how to begin the new file.

    Attributes:
        source: the whole model's file.
        header: first bytes of the new file.
        runs: (start, stop) in the source and the type; in the order of the new file's tensors.
        size: of the new file, in bytes.
    """

    source: Source
    header: bytes
    runs: tuple[tuple[int, int, torch.dtype], ...]
    size: int

    def read(self, done: int = 0) -> Iterator[bytes]:
        """The new file's bytes, those after the first `done`.

        Raises:
            WeightsError: for values that are not finite in 16 bits.
        """
        yield self.header[done:]
        skip = max(0, done - len(self.header))
        for start, stop, dtype in self.runs:
            size = (stop - start) // dtype.itemsize * 2
            passed, skip = min(skip, size), max(0, skip - size)
            # An odd number of bytes ends within a value, whose other half is still to come.
            blocks = self.source.read(start + passed // 2 * dtype.itemsize, stop)
            for i, half in enumerate(self._to_half(blocks, dtype)):
                yield half[passed % 2 :] if i == 0 else half

    def _to_half(self, blocks: Iterator[bytes], dtype: torch.dtype) -> Iterator[bytes]:
        rest = b""
        for block in blocks:
            joined = rest + block
            whole = len(joined) // dtype.itemsize * dtype.itemsize
            rest = joined[whole:]
            if whole:
                values = torch.frombuffer(bytearray(joined[:whole]), dtype=dtype).half()
                if not values.isfinite().all():
                    raise WeightsError(f"{self.source.name}: {_NOT_FINITE}")
                yield values.numpy().tobytes()


_NOT_FINITE = (
    "some weights are not finite numbers of 16 bits; expected those of OpenCLIP's ViT-bigG-14. "
    "Delete the file and fetch it again: `python scripts/weights.py fetch=ulip2`"
)


def plan_cut(source: Source, expected: Mapping[str, Any]) -> TextCut:
    """Read a .safetensors file's header and decide what to take.

    Args:
        source: a whole OpenCLIP model.
        expected: the text tower's parameters by name, with their shapes.

    Raises:
        WeightsError: if the file is damaged or its text tower is another one.
    """
    entries = text_tower_state(_read_header(source))
    check_names_and_shapes(expected, entries, source.name, "text tower")
    ordered = sorted(entries.items(), key=lambda item: item[1].start)
    header: dict[str, Any] = {}
    runs: list[tuple[int, int, torch.dtype]] = []
    end = 0
    for name, entry in ordered:
        if entry.dtype not in _TYPES:
            raise WeightsError(
                f"{source.name}: {name} is of type {entry.dtype}; expected {', '.join(_TYPES)}. "
                "Fetch OpenCLIP's own file: `python scripts/weights.py fetch=ulip2`"
            )
        dtype, size = _TYPES[entry.dtype], 2 * math.prod(entry.shape)
        if entry.stop - entry.start != size // 2 * dtype.itemsize:
            raise _damaged(source, f"{name} lies at {entry.start:,}-{entry.stop:,}")
        header[name] = {
            "dtype": "F16",
            "shape": entry.shape,
            "data_offsets": [end, end + size],
        }
        end += size
        if runs and runs[-1][1:] == (entry.start, dtype):
            runs[-1] = (runs[-1][0], entry.stop, dtype)
        else:
            runs.append((entry.start, entry.stop, dtype))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    first = len(text).to_bytes(8, "little") + text
    return TextCut(source, first, tuple(runs), len(first) + end)


def _read_header(source: Source) -> dict[str, _Entry]:
    """Names and places of a .safetensors file's tensors."""
    length = int.from_bytes(b"".join(source.read(0, min(8, source.size))), "little")
    begin = 8 + length
    if not 2 <= length <= _HEADER_LIMIT or begin > source.size:
        raise _damaged(source, f"a header of {length:,} bytes is announced")
    try:
        header = json.loads(b"".join(source.read(8, begin)))
        header.pop("__metadata__", None)
        entries = {
            name: _Entry(
                about["dtype"],
                tuple(about["shape"]),
                begin + about["data_offsets"][0],
                begin + about["data_offsets"][1],
            )
            for name, about in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(source, f"the header cannot be read ({error})") from error
    end = max((entry.stop for entry in entries.values()), default=begin)
    if end != source.size:
        raise _damaged(source, f"tensors up to {end:,} are announced")
    return entries


def _damaged(source: Source, what: str) -> WeightsError:
    return WeightsError(
        f"{source.name}: {what} in a file of {source.size:,} bytes; expected a whole .safetensors "
        "file. Get it again: `python scripts/weights.py fetch=ulip2`"
    )


def cut_checkpoint(path: Path, expected: Mapping[str, Any], target: Path) -> None:
    """Cut the text tower out of a PyTorch file (open_clip_pytorch_model.bin).

    Args:
        path: a whole OpenCLIP model.
        expected: the text tower's parameters by name, with their shapes.
        target: .safetensors, replaced only once the new file is whole.

    Raises:
        WeightsError: if the file is damaged or its text tower is another one.
    """
    from safetensors.torch import save

    state: dict[str, Tensor] = text_tower_state(read_checkpoint(path))
    check_names_and_shapes(expected, state, path, "text tower")
    half = {name: tensor.half().contiguous() for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in half.values()):
        raise WeightsError(f"{path}: {_NOT_FINITE}")
    content = save(half)
    write_bytes(target, content)
