"""The demo set: twelve procedural categories with and without defects, nothing to download.

Four normal training scans and forty test scans (twenty defective) a category, in the layout of
Anomaly-ShapeNet. How hard it is: nearest neighbours of FPFH among the four training scans reach a
point AUROC of 0.83 (seed 0, mean over categories, 2,048 points a scan).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from btp.data.synthesis.scanner import SetSize, write_set
from btp.data.synthesis.shapes import CATEGORIES, individuals
from btp.errors import ConfigError, DataError
from btp.runtime.files import write_text
from btp.runtime.locks import locked

VERSION = "1"
"""Raise it when the same seed gives other bytes."""


def generate(
    root: Path,
    seed: int = 0,
    categories: Sequence[str] | None = None,
    size: SetSize | None = None,
    workers: int | None = None,
) -> Path:
    """Write the demo set; about 160 MB and under a minute on two cores.

    Args:
        root: folder to write; must be absent or empty. It appears when it is complete.
        seed: the same seed gives the same bytes.
        categories: which of `shapes.CATEGORIES`; all by default.
        size: scans per category.
        workers: processes, by default one a core, at most eight; the result does not depend on it.

    Returns:
        `root`.

    Raises:
        ConfigError: an unknown category.
        DataError: the folder is not empty.
    """
    chosen = sorted(CATEGORIES if categories is None else categories)
    unknown = sorted(set(chosen) - set(CATEGORIES))
    if unknown:
        raise ConfigError(
            f"unknown demo categories {', '.join(unknown)}; expected some of "
            f"{', '.join(CATEGORIES)}"
        )
    workers = workers or min(os.cpu_count() or 1, 8)
    return write_set(Path(root), individuals, chosen, seed, size, workers)


def ensure(root: Path, seed: int = 0) -> Path:
    """Return the demo set in `root`, writing it first if it is not there. Safe for many processes.

    Raises:
        DataError: the set there was made by another version of the generator.
    """
    root = Path(root)
    stamp = root / "VERSION"
    with locked(root.with_name(f".{root.name}.lock")):
        if not root.is_dir() or not any(root.iterdir()):
            made = root.with_name(f".{root.name}-new")  # a set never stands without its stamp
            shutil.rmtree(made, ignore_errors=True)
            generate(made, seed)
            write_text(made / stamp.name, f"{VERSION}\n")
            if root.is_dir():
                root.rmdir()
            made.rename(root)
    found = stamp.read_text().strip() if stamp.is_file() else "none"
    if found != VERSION:
        raise DataError(
            f"{root}: a demo set of generator version {found}; expected {VERSION}. Delete the "
            "folder, and it is made again"
        )
    return root
