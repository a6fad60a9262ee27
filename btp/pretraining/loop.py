"""The loop of the pretraining: steps, validations, the best weights, and going on after a stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from btp.errors import ConfigError
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.model import PointLanguagePretrainer, load_towers, save_towers
from btp.pretraining.objectives import Pretraining, Words, batch, corruption, losses
from btp.runtime.batches import batches
from btp.training.loop import updates
from btp.training.resume import State

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_EVERY = 20
MAX_SCALE = math.log(100.0)  # CLIP's bound on the contrast's temperature
CLIP_NORM = 1.0


def pretrain(
    encoder: EncoderConfig,
    settings: Pretraining,
    corpus: CorpusClouds,
    held_out: CorpusClouds,
    out: Path,
    device: torch.device | str = "cpu",
    resume: bool = False,
    start: Path | None = None,
) -> dict[str, float]:
    """Pretrain and write points.safetensors and text.safetensors, 16 bit, into `out`.

    The weights of the best validation are kept.

    Args:
        encoder: sizes.
        settings: how.
        corpus: to train on.
        held_out: clouds that are never trained on, for the validation.
        out: folder for the weights, pretraining.pt and tensorboard/.
        device: of both towers.
        resume: go on from pretraining.pt if it is there.
        start: folder of an earlier pretraining's towers to start from, and not from the seed.

    Returns:
        Step and validation figures of the weights that were kept.

    Raises:
        ConfigError: if a step would draw more clouds or patches than there are.
        WeightsError: if pretraining.pt belongs to other settings or clouds, or the towers to start
            from are of other sizes.
    """
    from torch.utils.tensorboard import SummaryWriter

    _check_enough(settings, corpus)
    device = torch.device(device)
    model = _towers(encoder, settings, start).to(device)
    optimizer = torch.optim.AdamW(_groups(model, settings), lr=settings.learning_rate)
    made_by = {"encoder": encoder, "start": str(start), **vars(settings)}
    made_by |= {"clouds": corpus.fingerprint, "held-out clouds": held_out.fingerprint}
    state = State(out / "pretraining.pt", model, optimizer, made_by, {"step": 0.0, "score": -1.0})
    first = state.restore() if resume else 0
    words = Words.of(corpus, encoder.text.context_length, device)
    learned = words.learned()

    def weighted(step: int) -> dict[str, Tensor]:
        terms = losses(model.train(), corpus, words, settings, step, device)
        total = sum(weight * term for weight, term in terms.values())
        return {name: term for name, (_, term) in terms.items()} | {"total": torch.as_tensor(total)}

    steps = ((step, step) for step in range(first, settings.steps))  # a step draws its own batch
    rate = partial(_rate, settings=settings)
    with SummaryWriter(str(out / "tensorboard"), purge_step=first) as board:
        made = updates(model, optimizer, steps, weighted, rate, CLIP_NORM)
        bar = tqdm(made, "pretrain", settings.steps, initial=first)
        for step, terms in bar:
            with torch.no_grad():
                model.points.logit_scale.clamp_(max=MAX_SCALE)
            if step % LOG_EVERY == 0:
                values = {name: float(term) for name, term in terms.items()}
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                _log(board, "loss", values, step)
            if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
                figures = validate(model, held_out, settings, device)
                _log(board, "held_out", figures, step)
                print("\nstep", step + 1, {k: round(v, 4) for k, v in figures.items()}, flush=True)
                if figures["score"] > state.best["score"]:
                    state.best = {"step": step + 1.0} | figures
                    save_towers(model, out, learned)
                state.save(step)
    return state.best


def _check_enough(settings: Pretraining, corpus: CorpusClouds) -> None:
    """Raise a ConfigError if a step would draw more than there is."""
    if settings.batch_size > len(corpus):
        raise ConfigError(
            f"training.batch_size is {settings.batch_size}, and the corpus has {len(corpus)} clouds"
        )
    if settings.groups > corpus.patch_index.shape[1]:
        raise ConfigError(
            f"training.groups is {settings.groups}, and a cloud of the corpus has "
            f"{corpus.patch_index.shape[1]} patches"
        )


def _towers(
    encoder: EncoderConfig, settings: Pretraining, start: Path | None
) -> PointLanguagePretrainer:
    """Build towers from the seed, or read those of an earlier pretraining."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = PointLanguagePretrainer(encoder, settings.groups, settings.compile)
    if start is not None:
        load_towers(model, start)
    return model


def _log(board: SummaryWriter, group: str, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        board.add_scalar(f"{group}/{name}", value, step)


def validate(
    model: PointLanguagePretrainer,
    clouds: CorpusClouds,
    settings: Pretraining,
    device: torch.device,
) -> dict[str, float]:
    """Measure the towers on clouds that they have not seen, without any anomaly label.

    Returns:
        `retrieval`: how often a cloud's caption is the nearest of 32. `explained`: share of the
        hidden patches' absolute deviation from the mean geometry that is predicted (squares would
        be decided by a few odd patches). `score`: their mean.
    """
    model.eval()
    hits, error, total = [], 0.0, 0.0
    tokens = torch.cat([tokenize(wordings[:1]) for wordings in clouds.captions]).to(device)
    groups = clouds.patch_index.shape[1]
    precision = torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16)
    with torch.inference_mode(), precision:
        for number, chunk in enumerate(batches(len(clouds), 32)):
            points, surface, index = batch(clouds, chunk, slice(None), device)
            rng = np.random.default_rng(number)
            hidden = corruption(len(points), groups, replace(settings, whole=0.0), rng, device)
            text = model.encode_text(tokens[chunk])
            embedding, _ = model(points, surface, index)
            best = (embedding.float() @ text.float().T).argmax(1)
            hits.append(best == torch.arange(len(best), device=device))
            _, predicted = model(points, surface, index, hidden)
            targets = model.geometry_targets(surface, index)[hidden.hidden]
            error += float((predicted.float()[hidden.hidden] - targets).abs().sum())
            total += float(targets.abs().sum())
    figures = {
        "retrieval": float(torch.cat(hits).float().mean()),
        "explained": 1 - error / total,
    }
    return figures | {"score": (figures["retrieval"] + figures["explained"]) / 2}


def _groups(model: nn.Module, settings: Pretraining) -> list[dict[str, object]]:
    rate = settings.learning_rate
    flat = [p for p in model.parameters() if p.ndim < 2]
    rest = [p for p in model.parameters() if p.ndim >= 2]
    return [
        {"params": rest, "base_lr": rate, "weight_decay": settings.weight_decay},
        {"params": flat, "base_lr": rate, "weight_decay": 0.0},
    ]


def _rate(step: int, highest: float, settings: Pretraining) -> float:
    """Return a step's learning rate: a linear warm-up, then a cosine to 2 % of the highest."""
    if step < settings.warmup:
        return highest * ((step + 1) / settings.warmup)
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return highest * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
