"""BTP: zero-shot 3D anomaly detection on point clouds with point-language models.

Modules and `btp.load` are imported when first used, so that `import btp` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from btp.inspect.predictor import load as load

__version__ = "0.2.0"

_MODULES = frozenset({"geometry", "inspect", "losses", "metrics", "models", "weights"})
_FUNCTIONS = {"load": "btp.inspect.predictor"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"btp.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'btp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_FUNCTIONS})
