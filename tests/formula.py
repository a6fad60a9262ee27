"""Weights that are a formula of their name, as the golden numbers were recorded with."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from btp.models.release_heads import HEAD_NAMES

GOLDEN = Path(__file__).parent / "golden"


def formula_tensor(key: str, shape: list[int]) -> Tensor:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) <= 1 and key.endswith("weight"):
        values = 1 + 0.1 * rng.standard_normal(shape)
    elif len(shape) <= 1:
        values = 0.1 * rng.standard_normal(shape)
    else:
        values = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    return torch.tensor(values, dtype=torch.float32)


def ulip2_state() -> dict[str, Tensor]:
    """A full-size ULIP-2 point encoder."""
    shapes = json.loads((GOLDEN / "ulip2_state_dict_shapes.json").read_text())
    return {key: formula_tensor(key, shape) for key, shape in shapes.items()}


def release_name(ours: str) -> str:
    """The release's name of one of our head parameters."""
    for theirs, prefix in HEAD_NAMES.items():
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    raise KeyError(ours)


def release_head_state() -> dict[str, Tensor]:
    """The release's heads under its own names."""
    shapes = json.loads((GOLDEN / "btp_head_state_dict_shapes.json").read_text())
    return {key: formula_tensor(key, shape) for key, shape in shapes.items()}


def head_state(heads: dict[str, Tensor]) -> dict[str, Tensor]:
    """The release's heads under our names; its 1x1 convolutions are our linear layers."""
    theirs = release_head_state()
    return {name: theirs[release_name(name)].reshape(heads[name].shape) for name in heads}
