"""The loop of the pretraining: steps, validations, the best weights, and going on after a stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from btp.errors import ConfigError
from btp.geometry.patches import patches_to_points
from btp.metrics import object_metrics, point_metrics
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.model import PointLanguagePretrainer, load_towers, save_towers
from btp.pretraining.objectives import Pretraining, Words, batch, losses
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
                figures = validate(model, held_out, words.phrases[0], device, settings.bfloat16)
                _log(board, "held_out", figures, step)
                print("\nstep", step + 1, {k: round(v, 4) for k, v in figures.items()}, flush=True)
                if figures["score"] > state.best["score"]:
                    state.best = {"step": step + 1.0} | figures
                    save_towers(model, out)
                state.save(step)
    return state.best


def _check_enough(settings: Pretraining, corpus: CorpusClouds) -> None:
    """Raises ConfigError if a step would draw more than there is."""
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
    """From the seed, or those of an earlier pretraining."""
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
    phrases: Tensor,
    device: torch.device,
    bfloat16: bool,
) -> dict[str, float]:
    """Point and object AUROC, and top-1 retrieval of captions among 32 clouds."""
    model.eval()
    point_scores, objects, hits = [], [], []
    tokens = torch.cat([tokenize(wordings[:1]) for wordings in clouds.captions]).to(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        pair = model.encode_text(phrases)
        for chunk in batches(len(clouds), 32):
            points, surface, _, index = batch(clouds, chunk, slice(None), device)
            embedding, patch_logits, object_logits = model(points, surface, index, pair)
            text = model.encode_text(tokens[chunk])
            best = (embedding.float() @ text.float().T).argmax(1)
            hits.append(best == torch.arange(len(best), device=device))
            logits = patches_to_points(patch_logits.float(), index, points.shape[1])
            point_scores.append(logits.cpu().numpy())
            objects.append(
                0.5 * object_logits.float().cpu() + 0.5 * patch_logits.float().cpu().amax(1)
            )
    labels = clouds.labels.numpy()
    figures = {
        "point_auroc": point_metrics(list(labels), list(np.concatenate(point_scores)))["auroc"],
        "object_auroc": object_metrics(labels.any(1), torch.cat(objects).numpy())["auroc"],
        "retrieval": float(torch.cat(hits).float().mean()),
    }
    # few clouds may be all of one kind, which defines no AUROC
    known = [v for v in (figures["point_auroc"], figures["object_auroc"]) if not math.isnan(v)]
    return figures | {"score": float(np.mean(known)) if known else 0.0}


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
