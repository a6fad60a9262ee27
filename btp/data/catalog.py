"""Datasets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from btp.data.anomaly_shapenet import AnomalyShapeNet
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.real3d import Real3D
from btp.data.synthesis import demo
from btp.errors import ConfigError

NAMES = ("demo", "real3d", "anomaly_shapenet", "folder")


def open_dataset(name: str, root: str | Path, **options: Any) -> Dataset:
    """Open a dataset.

    Args:
        name: one of `NAMES`.
        root: its folder; the demo set is generated there if it is absent.
        options: of the dataset's class, such as `allow_missing`.

    Raises:
        ConfigError: for an unknown name or option.
        DataError: if the folder is absent or incomplete.
    """
    try:
        if name == "demo":
            return Folder(demo.ensure(Path(root)), name, **options)
        if name == "folder":
            return Folder(root, **options)
        if name == "real3d":
            return Real3D(root, **options)
        if name == "anomaly_shapenet":
            return AnomalyShapeNet(root, **options)
    except TypeError as error:
        raise ConfigError(f"dataset.{error} (dataset {name})") from error
    raise ConfigError(f"dataset {name!r} is not known; expected one of {', '.join(NAMES)}")
