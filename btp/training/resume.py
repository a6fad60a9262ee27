"""The state of an interrupted training, from which it goes on to the same weights."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from btp.errors import WeightsError
from btp.runtime.files import write_bytes

STATE = "resume.pt"
"""Name of the file in a run's folder while its training is unfinished."""


def forget_state(folder: Path) -> None:
    """Remove the state of an interrupted training from a run's folder, if there is one."""
    (folder / STATE).unlink(missing_ok=True)


class State:
    """What an interrupted training needs to go on: weights, optimiser, position, best so far.

    Attributes:
        best: what is kept of the best so far; tensors, numbers and dicts of them.
    """

    def __init__(
        self,
        path: Path,
        trainee: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, object],
        best: dict[str, Any] | None = None,
    ) -> None:
        """Describe a state; nothing is read or written yet.

        Args:
            path: of its file.
            trainee: what is trained.
            optimizer: that trains it.
            settings: all that decides the weights; a training with others cannot go on from here.
            best: to begin with.
        """
        self.path, self.trainee, self.optimizer = path, trainee, optimizer
        self.settings = {name: repr(value) for name, value in settings.items()}
        self.best = best or {}

    def save(self, position: int) -> None:
        """Write the state behind the epoch or step of this number."""
        content = {
            "settings": self.settings,
            "position": position,
            "trainee": self.trainee.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
        }
        buffer = io.BytesIO()  # torch.save says nothing of a full disk, and raises RuntimeError
        torch.save(content, buffer)
        write_bytes(self.path, buffer.getbuffer())

    def forget(self) -> int:
        """Remove the file, if there is one; return the epoch or step to begin with."""
        self.path.unlink(missing_ok=True)
        return 0

    def restore(self) -> int:
        """Load the file, if there is one; return the epoch or step to go on with.

        Raises:
            WeightsError: if it belongs to other settings.
        """
        if not self.path.is_file():
            return 0
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        differing = _differing(content["settings"], self.settings)
        if differing:
            raise WeightsError(
                f"{self.path}: an interrupted training with other settings: {differing}; repeat "
                "them, or start anew: resume=false, or remove the file"
            )
        self.trainee.load_state_dict(content["trainee"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.best = content["best"]
        return int(content["position"]) + 1


def _differing(found: Any, wanted: dict[str, str]) -> str:
    """Name the settings that differ, with both values; "" if none do."""
    if not isinstance(found, dict):
        return "those of an earlier version of this project"
    names = sorted(found.keys() | wanted.keys())
    pairs = ((name, found.get(name, "none"), wanted.get(name, "none")) for name in names)
    return ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs if old != new)
