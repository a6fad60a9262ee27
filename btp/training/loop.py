"""Adapting the detector on the annotated scans of one category (paper, Sec. 3.6 and 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from btp.errors import DataError
from btp.features.store import FeatureSet
from btp.losses import joint_loss
from btp.models.checkpoint import Heads, new_detector, save_detector
from btp.models.detector import Detector
from btp.models.point_language import PointLanguageModel
from btp.models.prompts import HybridPromptLearner
from btp.recipe import Recipe
from btp.runtime.batches import batches
from btp.training.resume import State, scalars, write_scalars

# Names of parameters without weight decay, as in the release: biases, norms, embeddings, prompts.
_NO_DECAY = ("norm", "ln", "embed", "prompt")


class Trainee(nn.Module):
    """All that is trained, as one module: the detector's heads and the prompts' context."""

    def __init__(self, model: PointLanguageModel, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.detector = new_detector(model.config, recipe)
        self.prompts: HybridPromptLearner | None = None
        if recipe.learns_prompts:
            tokens = recipe.context_tokens
            self.prompts = HybridPromptLearner(model.text, recipe.prompt_texts, tokens)
        else:  # needs no text tower where the embeddings are kept beside its weights
            self.detector.text.copy_(model.encode_text(recipe.prompt_texts))
        heads = Heads.of(model) if recipe.heads == "pretrained" else None
        self.pretrained = heads is not None
        if heads is not None:
            self._start(heads)

    def _start(self, heads: Heads) -> None:
        heads.start(self.detector)
        if self.prompts is None or heads.context is None:
            return
        same_texts = heads.detector.recipe.prompt_texts == self.detector.recipe.prompt_texts
        if same_texts and heads.context.shape == self.prompts.context.shape:
            self.prompts.context.data.copy_(heads.context)

    def train(self, mode: bool = True) -> Trainee:
        """As of any module; but pretrained norms keep the statistics of all that they have seen."""
        super().train(mode)
        if self.pretrained and self.detector.gfcm is not None:
            self.detector.gfcm.eval()
        return self

    def text(self) -> Tensor:
        """Normal and anomalous text embedding [2, D], with gradients to the context."""
        return self.detector.text if self.prompts is None else self.prompts(self.model.text)


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
    """Train the heads and write them, with TensorBoard scalars, into `out`.

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
        quiet: show no progress bar.

    Returns:
        The detector of the epoch that the recipe keeps, in eval mode.

    Raises:
        DataError: if there are too few scans for one batch, or the loss stops being finite.
        WeightsError: if resume.pt belongs to other settings.
    """
    check_enough(data, recipe)  # before anything on disk is touched
    state = begin(data, model, recipe, seed, out, metadata, bfloat16)
    trainee, optimizer = state.trainee, state.optimizer
    data = beside(data, model.device)
    first = state.restore() if resume else state.forget()
    with scalars(out, first) as board:
        epochs = range(first, recipe.epochs)
        bar = tqdm(epochs, f"train {data.category}", recipe.epochs, initial=first, disable=quiet)
        for epoch in bar:
            losses = run_epoch(trainee, data, optimizer, recipe, seed, epoch, bfloat16)
            write_scalars(board, epoch, losses, optimizer)
            bar.set_postfix(loss=f"{losses['total']:.3f}")
            with torch.no_grad():
                trainee.detector.text.copy_(trainee.text())
            state.after_epoch(epoch, losses["total"], keep_lowest=recipe.keep == "lowest_loss")
    return finish(state, model, out, metadata)


def begin(
    data: FeatureSet,
    model: PointLanguageModel,
    recipe: Recipe,
    seed: int,
    out: Path,
    metadata: dict[str, Any] | None,
    bfloat16: bool,
) -> State[Trainee]:
    """New heads from a seed, and their optimiser; arguments as of `train`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainee = Trainee(model, recipe).to(model.device).train()
    settings = {k: v for k, v in (metadata or {}).items() if k != "command"}
    settings |= {"recipe": recipe, "seed": seed, "bfloat16": bfloat16, "scans": len(data)}
    return State(out / "resume.pt", trainee, make_optimizer(trainee, recipe), settings)


def finish(
    state: State[Trainee], model: PointLanguageModel, out: Path, metadata: dict[str, Any] | None
) -> Detector:
    """Write the detector of the kept epoch; it is returned in eval mode."""
    trainee = state.trainee
    trainee.load_state_dict(state.best)
    detector = trainee.detector.eval()
    about = (metadata or {}) | {"epoch": state.best_epoch + 1, "loss": state.best_loss}
    context = trainee.prompts.context.detach().cpu() if trainee.prompts else None
    save_detector(out / "detector.safetensors", detector, model.config, about, context)
    state.forget()
    return detector


def beside(data: FeatureSet, device: torch.device) -> FeatureSet:
    """The set in the device's memory (100 clouds of ULIP-2: 0.2 GB), not copied in every step."""
    features = data.features.map(lambda tensor: tensor.to(device))
    return replace(data, features=features, labels=data.labels.to(device))


def check_enough(data: FeatureSet, recipe: Recipe) -> None:
    """Raises DataError if the scans do not fill one batch."""
    if not list(order_of(len(data), recipe, seed=0, epoch=0)):
        raise DataError(
            f"{data.category}: {len(data)} scans do not fill one batch of {recipe.batch_size}; "
            "add scans or lower recipe.batch_size"
        )


def run_epoch(
    trainee: Trainee,
    data: FeatureSet,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    seed: int,
    epoch: int,
    bfloat16: bool = False,
) -> dict[str, float]:
    """One pass over the data; the mean of each loss term.

    Raises:
        DataError: if the loss stops being finite.
    """
    device = trainee.model.device
    order = list(order_of(len(data), recipe, seed, epoch))
    sums: dict[str, Tensor] = {}
    for step, rows in enumerate(order, start=epoch * len(order)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(order) * recipe.epochs, group["base_lr"], recipe)
        features, labels = data.batch(rows, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            scores = trainee.detector(features, trainee.text())
        terms = joint_loss(scores, labels, features.fpfh, recipe.loss, recipe.geo_temperature)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), recipe.clip_norm)
        optimizer.step()
        for name, value in terms.items():  # summed on the device: no wait for it in every step
            sums[name] = value.detach() + sums.get(name, 0.0)
    losses = {name: float(total) / len(order) for name, total in sums.items()}
    check_finite(losses, data.category, epoch)
    return losses


def check_finite(losses: dict[str, float], what: str, epoch: int) -> None:
    """Raises DataError, naming what was trained, if the loss of an epoch is no number."""
    if not math.isfinite(losses["total"]):
        raise DataError(f"{what}: the loss became {losses} in epoch {epoch + 1}")


def order_of(n: int, recipe: Recipe, seed: int, epoch: int) -> Iterator[Tensor]:
    """Rows of each batch of an epoch (D11); depends on nothing but its arguments."""
    rows = np.arange(n)
    if recipe.shuffle:
        rows = np.random.default_rng([seed, epoch]).permutation(n)
    for chunk in batches(n, recipe.batch_size):
        if len(rows[chunk]) == recipe.batch_size or not recipe.drop_last:
            yield torch.from_numpy(rows[chunk])


def learning_rate(step: int, total: int, base: float, recipe: Recipe) -> float:
    """Linear warm-up to `base`, then cosine to the recipe's smallest rate."""
    warmup, least = int(recipe.warmup * total), recipe.min_learning_rate
    if step < warmup:
        return base * (recipe.warmup_factor + (1 - recipe.warmup_factor) * step / warmup)
    share = (step - warmup) / max(1, total - warmup)
    return least + (base - least) * 0.5 * (1 + math.cos(math.pi * share))


def make_optimizer(trainee: Trainee, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with three groups: prompts, weights, and what has no weight decay."""
    prompts, plain, decayed = [], [], []
    for name, parameter in trainee.named_parameters():
        if name.startswith("prompts."):
            prompts.append(parameter)
        elif name.endswith("bias") or any(part in name for part in _NO_DECAY):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "base_lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
        {"params": plain, "base_lr": recipe.learning_rate, "weight_decay": 0.0},
        {"params": prompts, "base_lr": recipe.prompt_learning_rate, "weight_decay": 0.0},
    ]
    # fused: one pass over the memory instead of a dozen
    return torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.999), fused=True)
