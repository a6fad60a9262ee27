"""Datasets, opened by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from btp.data.anomaly_shapenet import AnomalyShapeNet
from btp.data.benchmark import published_categories
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.real3d import Real3D
from btp.data.synthesis import demo, shapes
from btp.errors import ConfigError, DataError

READERS: dict[str, Callable[..., Dataset]] = {
    "demo": Folder,
    "real3d": Real3D,
    "anomaly_shapenet": AnomalyShapeNet,
    "folder": Folder,
}


def open_dataset(name: str, root: str | Path, **options: Any) -> Dataset:
    """Open a dataset by its name, and check its options.

    Args:
        name: one of `READERS`.
        root: its folder; the demo set is generated there if it is absent.
        options: of the dataset's class, such as `allow_missing`.

    Raises:
        ConfigError: for an unknown name or option.
        DataError: if the folder is absent or incomplete.
    """
    if name not in READERS:
        raise ConfigError(f"dataset {name!r} is not known; expected one of {', '.join(READERS)}")
    reader = READERS[name]
    _check_options(name, reader, options)
    if name == "demo":
        return Folder(demo.ensure(Path(root)), name)
    return reader(root, **options)


def find_dataset(name: str, root: str | Path, **options: Any) -> Dataset:
    """Open a dataset that is on disk already: as `open_dataset`, but nothing is generated.

    Raises:
        ConfigError: for an unknown name or option.
        DataError: if the folder is absent or incomplete, that of the demo set included.
    """
    if name == "demo" and not Path(root).is_dir():
        raise DataError(
            f"{root}: no such folder; the demo set is made there, in about a minute, by the first "
            "command that trains or prepares"
        )
    return open_dataset(name, root, **options)


def known_categories(name: str) -> tuple[str, ...]:
    """Return a dataset's categories as far as they are known without its files, sorted."""
    if name == "demo":
        return tuple(sorted(shapes.CATEGORIES))
    return () if name == "folder" else published_categories(name)


def _check_options(name: str, reader: Callable[..., Dataset], options: Iterable[str]) -> None:
    known = [each for each in inspect.signature(reader).parameters if each not in ("root", "name")]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ConfigError(
            f"dataset {name} has no option {', '.join(unknown)}; expected "
            f"{' or '.join(known) or 'none besides name and root'}"
        )
