"""Write a detector as an ONNX file: `btp export detector=mini out=mini.onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from btp.commands.settings import script
from btp.inspect.export import check_export, export_onnx
from btp.inspect.predictor import load


@script("export")
def main(config: DictConfig) -> None:
    detector, path = load(config.detector, bfloat16=False), Path(config.out)
    export_onnx(detector, path)
    scan = config.scan if config.scan is not None else ellipsoid()
    print(f"largest difference from PyTorch: {check_export(detector, path, scan):.2g}")
    print(path)


def ellipsoid() -> np.ndarray:
    """A cloud [20000, 3] for the check where no scan is given."""
    points = np.random.default_rng(0).normal(size=(20_000, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True) * [1.0, 2.0, 3.0]
