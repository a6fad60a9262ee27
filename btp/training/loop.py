"""Training: one loop of updates, and a detector's adaptation by it (paper, Sec. 3.6 and 4.2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from btp.errors import DataError
from btp.features.store import FeatureSet
from btp.losses import joint_loss
from btp.models.checkpoint import Trained, save_detector
from btp.models.detector import Detector
from btp.models.fast import PackedPrompts, for_training
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe, TrainConfig
from btp.runtime.batches import batches
from btp.runtime.progress import Progress
from btp.training.resume import STATE, State
from btp.training.trainee import Trainee, make_optimizer, new_trainee

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

RESUME_EVERY = 10  # epochs

B = TypeVar("B")


def updates(
    trainee: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: Iterable[tuple[int, B]],
    losses: Callable[[B], dict[str, Tensor]],
    rate: Callable[[int, float], float],
    clip_norm: float,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Update a module once for each batch: the one training loop of the project.

    Args:
        trainee: whose gradient is clipped.
        optimizer: of its parameters; each group has its highest rate as "base_lr".
        steps: number of each step, and its batch.
        losses: of a batch; the gradient of "total" is followed.
        rate: of a step's number and a highest rate.
        clip_norm: longest gradient.

    Yields:
        Each step's number and loss terms, after its update.
    """
    for step, batch in steps:
        for group in optimizer.param_groups:
            group["lr"] = rate(step, group["base_lr"])
        terms = losses(batch)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), clip_norm)
        optimizer.step()
        yield step, {name: value.detach() for name, value in terms.items()}


def train(
    data: FeatureSet,
    model: PointLanguageModel,
    recipe: Recipe,
    seed: int,
    out: Path,
    metadata: dict[str, Any] | None = None,
    resume: bool = False,
    bfloat16: bool = False,
    quiet: bool = False,
) -> Detector:
    """Train heads and prompts on one category, and write the detector and its curves into `out`.

    On CPU the same seed gives the same weights on the same machine; so does an interrupted run
    that is resumed.

    Args:
        data: annotated scans of the train category, with FPFH targets.
        model: the frozen point-language model that made `data`.
        recipe: switches and hyperparameters.
        seed: of initialisation and order.
        out: folder of the run: detector.safetensors, resume.pt while unfinished, tensorboard/.
        metadata: kept in the detector's file; a resumed run must have the same.
        resume: go on from `out`/resume.pt if it is there.
        bfloat16: autocast the heads; losses stay in float32.
        quiet: show no progress.

    Returns:
        The detector of the epoch that the recipe keeps (D12), in eval mode.

    Raises:
        DataError: if there are too few scans for one batch, or the loss stops being finite.
        WeightsError: if resume.pt belongs to other settings.
    """
    from torch.utils.tensorboard import SummaryWriter

    check_enough(data, recipe.training)  # before anything on disk is touched
    about = metadata or {}
    settings = {k: v for k, v in about.items() if k != "command"}
    settings |= {f"recipe.{k}": v for k, v in recipe.flat().items()}
    settings |= {"seed": seed, "bfloat16": bfloat16, "scans": len(data)}
    trainee = new_trainee(model, recipe, seed)
    optimizer = make_optimizer(trainee, recipe.training)
    state = State(out / STATE, trainee, optimizer, settings)
    first = state.restore() if resume else state.forget()
    epochs = fit(trainee, optimizer, data, recipe, seed, first, bfloat16)
    title, total = f"train {data.category}", recipe.training.epochs
    with (
        SummaryWriter(str(out / "tensorboard"), purge_step=first) as board,
        Progress(title, total, "epoch", first, show=not quiet) as progress,
    ):
        for epoch, losses in epochs:
            _log(board, epoch, losses, optimizer)
            progress.update(loss=f"{losses['total']:.3f}")
            state.best = kept(state.best, trainee, epoch, losses["total"], recipe.training)
            if (epoch + 1) % RESUME_EVERY == 0:
                state.save(epoch)
    trainee.load_state_dict(state.best["weights"])
    detector = trainee.detector.eval()
    assert isinstance(detector, Detector)
    about = about | {"epoch": state.best["epoch"] + 1, "loss": state.best["loss"]}
    context = trainee.prompts.context if trainee.prompts else None
    path = out / "detector.safetensors"
    save_detector(path, Trained(detector, model.config, about, recipe, context))
    state.forget()
    return detector


def _log(
    board: SummaryWriter, epoch: int, losses: dict[str, float], optimizer: torch.optim.Optimizer
) -> None:
    for name, value in losses.items():
        board.add_scalar(f"loss/{name}", value, epoch)
    board.add_scalar("learning_rate", optimizer.param_groups[0]["lr"], epoch)


def fit(
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    data: FeatureSet,
    recipe: Recipe,
    seed: int,
    first: int = 0,
    bfloat16: bool = False,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train epoch by epoch; arguments as of `train`.

    Yields:
        Each epoch's number, from the first on, and the mean of each loss term, after its updates.
        The detector's stored text is then that of the prompts.

    Raises:
        DataError: if the loss stops being finite.
    """
    if recipe.loss.geometry and not recipe.detector.use_geometry:
        warnings.warn(
            f"loss.geometry={recipe.loss.geometry} is ignored: without GFCM (use_geometry=false) "
            "there is no geometric loss",
            stacklevel=2,
        )
    # in the device's memory (100 clouds of ULIP-2: 0.2 GB), not copied in every step
    features = data.features.map(lambda tensor: tensor.to(trainee.model.device))
    data = replace(data, features=features, labels=data.labels.to(trainee.model.device))
    for epoch in range(first, recipe.training.epochs):
        losses = run_epoch(trainee, optimizer, data, recipe, seed, epoch, bfloat16)
        with torch.no_grad():
            trainee.detector.text.copy_(trainee.text())
        yield epoch, losses


def run_epoch(
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    data: FeatureSet,
    recipe: Recipe,
    seed: int,
    epoch: int,
    bfloat16: bool = False,
) -> dict[str, float]:
    """Update once for each batch of an epoch; return the mean of each loss term.

    Raises:
        DataError: if the loss stops being finite.
    """
    config, device = recipe.training, trainee.model.device
    # the same scores, texts and gradients, in fewer products
    detector = for_training(trainee.detector)
    prompts = None if trainee.prompts is None else PackedPrompts(trainee.prompts)

    def losses(rows: Tensor) -> dict[str, Tensor]:
        features, labels = data.batch(rows, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            scores = detector(features, trainee.text(prompts))
        return joint_loss(scores, labels, features.fpfh, recipe.loss, config.geo_temperature)

    order = list(order_of(len(data), config, seed, epoch))
    total = len(order) * config.epochs
    steps = updates(
        trainee,
        optimizer,
        enumerate(order, start=epoch * len(order)),
        losses,
        lambda step, highest: learning_rate(step, total, highest, config),
        config.clip_norm,
    )
    sums: dict[str, Tensor] = {}
    for _, terms in steps:  # summed on the device: no wait for it in every step
        sums = {name: value + sums.get(name, 0.0) for name, value in terms.items()}
    means = {name: float(value) / len(order) for name, value in sums.items()}
    if not math.isfinite(means["total"]):
        raise DataError(f"{data.category}: the loss became {means} in epoch {epoch + 1}")
    return means


def kept(
    best: dict[str, Any], trainee: Trainee, epoch: int, loss: float, config: TrainConfig
) -> dict[str, Any]:
    """Return the epoch whose weights are to be kept (D12): the best so far, or this one."""
    if best and config.keep == "lowest_loss" and loss >= best["loss"]:
        return best
    weights = {name: value.detach().clone() for name, value in trainee.state_dict().items()}
    return {"epoch": epoch, "loss": loss, "weights": weights}


def check_enough(data: FeatureSet, config: TrainConfig) -> None:
    """Raise DataError if the scans do not fill one batch."""
    if not list(order_of(len(data), config, seed=0, epoch=0)):
        raise DataError(
            f"{data.category}: {len(data)} scans do not fill one batch of {config.batch_size}; "
            "add scans or lower recipe.batch_size"
        )


def order_of(n: int, config: TrainConfig, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the rows of each batch of an epoch (D11), which depend on the arguments alone."""
    rows = np.arange(n)
    if config.shuffle:
        rows = np.random.default_rng([seed, epoch]).permutation(n)
    for chunk in batches(n, config.batch_size):
        if len(rows[chunk]) == config.batch_size or not config.drop_last:
            yield torch.from_numpy(rows[chunk])


def learning_rate(step: int, total: int, highest: float, config: TrainConfig) -> float:
    """Return a step's rate: a linear warm-up to the highest, then a cosine to the smallest."""
    warmup, least = int(config.warmup * total), config.min_learning_rate
    if step < warmup:
        return highest * (config.warmup_factor + (1 - config.warmup_factor) * step / warmup)
    share = (step - warmup) / max(1, total - warmup)
    return least + (highest - least) * 0.5 * (1 + math.cos(math.pi * share))
