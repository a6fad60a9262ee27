"""Cut the text tower out of a whole OpenCLIP model into a 16-bit file.

Only the header and the text tensors of a .safetensors file are read, on disk or on the hub: about
a quarter of ViT-bigG-14's 10 GB. Memory stays below a few blocks.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from btp.errors import WeightsError
from btp.runtime.files import write_bytes
from btp.weights.published import FETCH, text_tower_state
from btp.weights.sources import Source
from btp.weights.state_dict import check_names_and_shapes, read_checkpoint

if TYPE_CHECKING:
    from huggingface_hub.utils import TensorInfo  # type: ignore[attr-defined]

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class TextCut:
    """The byte ranges to read of a whole model, and the header of the file made from them.

    Attributes:
        source: the whole model's file.
        header: first bytes of the new file.
        ranges: (start, stop) in the source and the type; in the order of the new file's tensors.
        size: of the new file, in bytes.
    """

    source: Source
    header: bytes
    ranges: tuple[tuple[int, int, torch.dtype], ...]
    size: int

    def read(self, done: int = 0) -> Iterator[bytes]:
        """Yield the new file's bytes after the first `done`, to go on with an interrupted file.

        Raises:
            WeightsError: for values that are not finite in 16 bits.
        """
        yield self.header[done:]
        skip = max(0, done - len(self.header))
        for start, stop, dtype in self.ranges:
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
    f"Delete the file and fetch it again: {FETCH}"
)


def plan_cut(source: Source, expected: Mapping[str, Any]) -> TextCut:
    """Read a .safetensors file's header and list the byte ranges of its text tower.

    Args:
        source: a whole OpenCLIP model.
        expected: the text tower's parameters by name, with their shapes.

    Raises:
        WeightsError: if the file is damaged or its text tower is another one.
    """
    begin, tensors = _read_header(source)
    chosen = text_tower_state(tensors)
    check_names_and_shapes(expected, chosen, source.name, "text tower")
    header: dict[str, Any] = {}
    ranges: list[tuple[int, int, torch.dtype]] = []
    end = 0
    for name, tensor in sorted(chosen.items(), key=lambda item: item[1].data_offsets):
        if tensor.dtype not in _TYPES:
            raise WeightsError(
                f"{source.name}: {name} is of type {tensor.dtype}; expected {', '.join(_TYPES)}. "
                f"Fetch OpenCLIP's own file: {FETCH}"
            )
        dtype, size = _TYPES[tensor.dtype], 2 * math.prod(tensor.shape)
        start, stop = (begin + offset for offset in tensor.data_offsets)
        if stop - start != size // 2 * dtype.itemsize:
            raise _damaged(source, f"{name} lies at {start:,}-{stop:,}")
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [end, end + size]}
        end += size
        if ranges and ranges[-1][1:] == (start, dtype):
            ranges[-1] = (ranges[-1][0], stop, dtype)  # neighbours come in one request
        else:
            ranges.append((start, stop, dtype))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    first = len(text).to_bytes(8, "little") + text
    return TextCut(source, first, tuple(ranges), len(first) + end)


def _read_header(source: Source) -> tuple[int, dict[str, TensorInfo]]:
    """Return where the tensors' bytes begin in a .safetensors file, and what it says of each.

    The header's bytes come through `source`, which survives a broken connection and takes no more
    than asked for; the hub's client then parses them.
    """
    from huggingface_hub import parse_local_safetensors_file_metadata
    from huggingface_hub.constants import SAFETENSORS_MAX_HEADER_LENGTH
    from huggingface_hub.errors import SafetensorsParsingError

    length = int.from_bytes(b"".join(source.read(0, min(8, source.size))), "little")
    begin = 8 + length
    if length > SAFETENSORS_MAX_HEADER_LENGTH or begin > source.size:
        raise _damaged(source, f"a header of {length:,} bytes is announced")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "header.safetensors")
        copy.write_bytes(b"".join(source.read(0, begin)))
        try:
            tensors = parse_local_safetensors_file_metadata(copy).tensors
        except (SafetensorsParsingError, TypeError, AttributeError) as error:
            raise _damaged(source, "the header cannot be read") from error
    end = begin + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if end != source.size:
        raise _damaged(source, f"tensors up to {end:,} are announced")
    return begin, tensors


def _damaged(source: Source, what: str) -> WeightsError:
    return WeightsError(
        f"{source.name}: {what} in a file of {source.size:,} bytes; expected a whole .safetensors "
        f"file. Get it again: {FETCH}"
    )


def cut_checkpoint(path: Path, expected: Mapping[str, Any], target: Path) -> None:
    """Write the text tower of a PyTorch file (open_clip_pytorch_model.bin) as 16-bit safetensors.

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
