"""What a training leaves on disk as it goes: the state to go on from, and TensorBoard's scalars."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from btp.errors import WeightsError
from btp.runtime.files import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RESUME_EVERY = 10  # epochs

M = TypeVar("M", bound=nn.Module)


class State(Generic[M]):
    """The kept epoch, and what an interrupted run needs to go on."""

    def __init__(
        self, path: Path, trainee: M, optimizer: torch.optim.Optimizer, settings: object
    ) -> None:
        self.path, self.trainee, self.optimizer = path, trainee, optimizer
        self.settings = repr(settings)
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_loss = -1, math.inf

    def after_epoch(self, epoch: int, loss: float, keep_lowest: bool) -> None:
        """Keep this epoch if it is the one to keep (D12); write the state now and then."""
        if loss < self.best_loss or not keep_lowest:
            self.best = {k: v.detach().clone() for k, v in self.trainee.state_dict().items()}
            self.best_epoch, self.best_loss = epoch, loss
        if (epoch + 1) % RESUME_EVERY == 0:
            content = {
                "settings": self.settings,
                "epoch": epoch,
                "trainee": self.trainee.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "best": (self.best, self.best_epoch, self.best_loss),
            }
            write_atomically(self.path, lambda file: torch.save(content, file))

    def forget(self) -> int:
        """Remove an older state; the epoch to begin with."""
        self.path.unlink(missing_ok=True)
        return 0

    def restore(self) -> int:
        """Load the state if there is one; the epoch to go on with."""
        if not self.path.is_file():
            return 0
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        if content["settings"] != self.settings:
            raise WeightsError(
                f"{self.path}: an interrupted run with other settings ({content['settings']}); "
                f"expected {self.settings}. Repeat its settings, or start anew: resume=false, "
                "or remove the file"
            )
        self.trainee.load_state_dict(content["trainee"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.best, self.best_epoch, self.best_loss = content["best"]
        return int(content["epoch"]) + 1


def scalars(out: Path, first: int) -> SummaryWriter:
    """TensorBoard's writer of a run that begins, or goes on, with an epoch."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"), purge_step=first)


def write_scalars(
    board: SummaryWriter, epoch: int, losses: dict[str, float], optimizer: torch.optim.Optimizer
) -> None:
    """What an epoch leaves in TensorBoard."""
    for name, value in losses.items():
        board.add_scalar(f"loss/{name}", value, epoch)
    board.add_scalar("learning_rate", optimizer.param_groups[0]["lr"], epoch)
