"""The parts of the model, each under the paper's own name; imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

_PARTS = ("detector", "gfcm", "mgfem", "point_encoder", "prompts", "text_encoder")


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"btp.models.{name}")
    raise AttributeError(f"module 'btp.models' has no attribute {name!r}")
