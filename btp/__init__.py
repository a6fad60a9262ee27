"""BTP: zero-shot 3D anomaly detection on point clouds with point-language models.

The package is a house of eight floors. A folder is a room, and imports only from floors below:

    7  commands                      command lines: read the settings, open a workspace, one call
    6  report benchmark pretraining  tables and pictures of records; speed; how `mini` is made
    5  experiments inspect           the paper's runs and their records; a person's own scans
    4  training evaluation           the training loop; scores and metrics of a category, baselines
    3  features                      what the frozen encoder makes of a scan, computed once and kept
    2  data models drawing           scans and how they are sampled; Eq. 1-4 and 6; pictures
    1  geometry metrics weights      neighbours, normals, FPFH; AUROC, AU-PRO; weight files
    0  types errors config recipe losses runtime  values, settings, Eq. 5-8; files and threads

Modules, `btp.load` and the types of what it gives are imported when first used, so that
`import btp` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from btp.inspect.predictor import Inspector as Inspector
    from btp.inspect.predictor import load as load
    from btp.inspect.reference import GoodScans as GoodScans
    from btp.types import Prediction as Prediction

__version__ = "0.3.0"

_MODULES = frozenset({"errors", "geometry", "inspect", "losses", "metrics", "models", "weights"})
_NAMES = {
    "GoodScans": "btp.inspect.reference",
    "Inspector": "btp.inspect.predictor",
    "Prediction": "btp.types",
    "load": "btp.inspect.predictor",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"btp.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'btp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES})
