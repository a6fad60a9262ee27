"""The loop of the pretraining: steps, validations, the best weights, and going on after a stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import trange

from btp.errors import ConfigError, WeightsError
from btp.geometry.patches import patches_to_points
from btp.metrics import object_metrics, point_metrics
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.model import PointLanguagePretrainer, load_towers, save_towers
from btp.pretraining.objectives import Pretraining, Words, batch, losses
from btp.runtime.batches import batches
from btp.runtime.files import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_EVERY = 20
MAX_SCALE = math.log(100.0)  # CLIP's bound on the contrast's temperature


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
    first, best = 0, {"step": 0.0, "score": -1.0}
    data = (corpus.fingerprint, held_out.fingerprint)
    state_path, made_by = out / "pretraining.pt", (encoder, settings, str(start), data)
    if resume and state_path.is_file():
        first, best = _restore(state_path, model, optimizer, made_by)
    words = Words.of(corpus, encoder.text.context_length, device)
    with SummaryWriter(str(out / "tensorboard"), purge_step=first) as board:
        bar = trange(first, settings.steps, initial=first, total=settings.steps, desc="pretrain")
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, settings)
            terms = losses(model.train(), corpus, words, settings, step, device)
            _update(model, optimizer, terms)
            if step % LOG_EVERY == 0:
                values = {name: float(term.detach()) for name, (_, term) in terms.items()}
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                _log(board, "loss", values, step)
            if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
                figures = validate(model, held_out, words.phrases[0], device, settings.bfloat16)
                _log(board, "held_out", figures, step)
                print("\nstep", step + 1, {k: round(v, 4) for k, v in figures.items()}, flush=True)
                if figures["score"] > best["score"]:
                    best = {"step": step + 1.0} | figures
                    save_towers(model, out)
                _save_state(state_path, step, model, optimizer, best, made_by)
    return best


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


def _update(
    model: PointLanguagePretrainer,
    optimizer: torch.optim.Optimizer,
    terms: Mapping[str, tuple[float, Tensor]],
) -> None:
    total = sum(weight * term for weight, term in terms.values())
    optimizer.zero_grad(set_to_none=True)
    torch.as_tensor(total).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.points.logit_scale.clamp_(max=MAX_SCALE)


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
    flat = [p for p in model.parameters() if p.ndim < 2]
    rest = [p for p in model.parameters() if p.ndim >= 2]
    return [
        {"params": rest, "weight_decay": settings.weight_decay},
        {"params": flat, "weight_decay": 0.0},
    ]


def _schedule(step: int, settings: Pretraining) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


def _save_state(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, float],
    settings: object,
) -> None:
    content = {
        "settings": repr(settings),
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best": best,
    }
    write_atomically(path, lambda file: torch.save(content, file))


def _restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: object
) -> tuple[int, dict[str, float]]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["settings"] != repr(settings):
        raise WeightsError(
            f"{path}: an interrupted pretraining with other settings or clouds; repeat them, or "
            "start anew with resume=false"
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["step"]) + 1, dict(content["best"])
