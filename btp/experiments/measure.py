"""What runs and baselines have in common when they are measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

import btp
from btp.evaluation.scoring import CategoryScores
from btp.experiments.workspace import Workspace


def measure(scores: Iterable[CategoryScores], thresholds: int | None = None) -> dict[str, Any]:
    """Measure categories as they come: the fields `categories` and `repeated` of a record."""
    categories: dict[str, dict[str, float]] = {}
    repeated: dict[str, int] = {}
    for each in scores:
        category = each.data.category
        categories[category] = each.measure(thresholds)
        if small := int(each.data.repeated.sum()):
            repeated[category] = small
    return {"categories": categories, "repeated": repeated}


def circumstances(workspace: Workspace) -> dict[str, Any]:
    """Return the fields of a record that say on which scans, where and with which version."""
    device = workspace.model.device
    named = f"{device.type}, {torch.get_num_threads()} threads"
    return {
        "test_dataset": workspace.dataset.name,
        "test_problems": workspace.problems,
        "scans": workspace.scans,
        "btp": btp.__version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else named,
    }
