"""Settings for all tests, and the paths that several of them read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests run side by side: one thread each, set before torch, NumPy or Open3D is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("btp", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("btp")


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Inputs and outputs recorded from the authors' release; their origin is in its README."""
    return Path(__file__).resolve().parent / "golden"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes many minutes, unless it is asked for: pytest -m kills, -m load."""
    for name in ("kills", "load"):
        if name not in config.option.markexpr:
            left_out = pytest.mark.skip(reason=f"takes many minutes; run it with -m {name}")
            for item in items:
                if item.get_closest_marker(name) is not None:
                    item.add_marker(left_out)


@pytest.fixture(autouse=True)
def usual_products() -> Iterator[None]:
    """Undo what a program run in this process chose for its float32 products (`use_full_width`)."""
    import torch

    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    yield
    matmul.fp32_precision = before
