"""Make `import torchvision` work beside a CPU build of torch; timm and open_clip import it.

torchvision's wheels on PyPI are built for CUDA. Beside a torch without CUDA their library of
operators does not load, which torchvision tolerates, and then it registers shape functions for two
operators of that library, which fails with "operator torchvision::nms does not exist". Declaring
the two operators, without implementing them, lets the import succeed. BTP calls none of
torchvision's operators; code that does still gets torchvision's own error that they are missing.
"""

from __future__ import annotations

import importlib
import sys

import torch

SYMPTOM = "operator torchvision::nms does not exist"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[torch.library.Library] = []  # torch forgets the schemas with their library object


def ensure_importable() -> None:
    """Import torchvision, and declare the missing operators if exactly the error above occurs.

    Call it before importing timm or open_clip. It has no other effect where torchvision imports.

    Raises:
        Exception: whatever else `import torchvision` raises, untouched.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or str(error) != SYMPTOM or _declared:
            raise
        library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            library.define(schema)
        _declared.append(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import left half done
        importlib.import_module("torchvision")
