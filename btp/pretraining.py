"""Pretraining a small point-language model on the captioned corpus, in ULIP's way.

Objectives: cloud and caption find each other (Eq. 1, both directions), each patch agrees with
"normal" or "defective" phrases by its points' labels, and so does the whole cloud by its own: these
give the words of BTP's prompts a meaning in the shared space. Where asked for, a cloud also finds
the names of everyday things that it resembles among all names of the corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from btp.data.corpus.captions import article
from btp.data.corpus.shards import CorpusClouds
from btp.data.store import FeatureSet
from btp.errors import WeightsError
from btp.files import write_atomically, write_bytes
from btp.geometry import batches, patches_to_points
from btp.losses import dice_loss, focal_loss
from btp.metrics import object_metrics, point_metrics
from btp.models.point_encoder import PointBERT
from btp.models.text_encoder import TextEncoder, end_position, tokenize
from btp.types import Features, Sample
from btp.weights.models import EncoderConfig, PointLanguageModel

PHRASES = (
    ("normal object.", "defective object."),
    ("a normal object", "a defective object"),
    ("a good part", "a damaged part"),
    ("an intact surface", "a surface with a defect"),
    ("flawless", "faulty"),
    ("an undamaged thing", "an anomalous thing"),
)
NAME_DECAY = math.exp(-1.0)  # a cloud's next best name against the one before, as in its captions
MAX_SCALE = math.log(100.0)  # CLIP's bound on the contrast's temperature


@dataclass(frozen=True)
class Pretraining:
    """How to pretrain.

    Attributes:
        steps: of the optimiser.
        batch_size: B clouds a step; each is the others' negative.
        groups: patches a cloud while training; the encoder may use more afterwards.
        learning_rate, weight_decay, warmup: of AdamW and its cosine schedule, warm-up in steps.
        contrast, name, point, object: weights of the objectives; names cost nothing at 0.
        bfloat16: autocast both towers.
        validate_every: steps between validations; the best is kept.
        seed: of initialisation, order and wordings.
    """

    steps: int = 4000
    batch_size: int = 32
    groups: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 200
    contrast: float = 0.5
    name: float = 0.0
    point: float = 1.0
    object: float = 0.5
    bfloat16: bool = True
    validate_every: int = 250
    seed: int = 0


class PointLanguagePretrainer(nn.Module):
    """Both towers, and the patch projection that lets patch tokens meet phrases."""

    def __init__(self, encoder: EncoderConfig, groups: int) -> None:
        super().__init__()
        self.points = PointBERT(replace(encoder.point, groups=groups))
        self.text = TextEncoder(encoder.text)
        width, out = encoder.point.width, encoder.point.embed_dim
        # reads the taps that BTP's heads will read
        self.patch = nn.Sequential(
            nn.Linear(len(encoder.point.taps) * width, out), nn.GELU(), nn.Linear(out, out)
        )

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens [P, T] -> [P, D], L2-normalised."""
        return self.text.encode(self.text.embed(tokens), end_position(tokens))

    def forward(
        self, points: Tensor, surface: Tensor, patch_index: Tensor, phrases: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Object embeddings [B, D], patch logits [B, G] and object logits [B].

        Args:
            points: float [B, N, 3].
            surface: float [B, N, F].
            patch_index: int64 [B, G, K].
            phrases: float [2, D], normal and defective.
        """
        features = self.points(points, surface, patch_index)
        direction = phrases[1] - phrases[0]
        tokens = features.taps.transpose(1, 2).flatten(2)  # [B, G, L C]
        # normalised taps are small; sqrt(C) gives them unit variance
        patch_logits = self.patch(tokens * features.cls.shape[1] ** 0.5) @ direction
        object_logits = features.object_embedding @ direction / 0.07
        return features.object_embedding, patch_logits, object_logits


def pretrain(
    encoder: EncoderConfig,
    settings: Pretraining,
    corpus: CorpusClouds,
    held_out: CorpusClouds,
    out: Path,
    device: torch.device | str = "cpu",
    resume: bool = False,
) -> dict[str, float]:
    """Pretrain and write points.safetensors and text.safetensors, 16 bit, into `out`.

    The weights of the best validation on families that were never trained on are kept.

    Args:
        encoder: sizes.
        settings: how.
        corpus: to train on.
        held_out: clouds of other families.
        out: folder for the weights, pretraining.pt and tensorboard/.
        device: of both towers.
        resume: go on from pretraining.pt if it is there.

    Returns:
        Step and validation figures of the weights that were kept.

    Raises:
        WeightsError: if pretraining.pt belongs to other settings.
    """
    from torch.utils.tensorboard import SummaryWriter

    device = torch.device(device)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = PointLanguagePretrainer(encoder, settings.groups).to(device)
    optimizer = torch.optim.AdamW(_groups(model, settings), lr=settings.learning_rate)
    first, best = 0, {"step": 0.0, "score": -1.0}
    state_path = out / "pretraining.pt"
    if resume and state_path.is_file():
        first, best = _restore(state_path, model, optimizer, (encoder, settings))
    words = _Words.of(corpus, encoder.text.context_length, device)
    with SummaryWriter(str(out / "tensorboard"), purge_step=first) as board:
        bar = trange(first, settings.steps, initial=first, total=settings.steps, desc="pretrain")
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step, settings)
            model.train()
            terms = _losses(model, corpus, words, settings, step, device)
            total = sum(weight * term for weight, term in terms.values())
            optimizer.zero_grad(set_to_none=True)
            torch.as_tensor(total).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.points.logit_scale.clamp_(max=MAX_SCALE)
            if step % 20 == 0:
                values = {name: float(term.detach()) for name, (_, term) in terms.items()}
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                for name, value in values.items():
                    board.add_scalar(f"loss/{name}", value, step)
            if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
                figures = validate(model, held_out, words.phrases[0], device, settings.bfloat16)
                for name, value in figures.items():
                    board.add_scalar(f"held_out/{name}", value, step)
                print("\nstep", step + 1, {k: round(v, 4) for k, v in figures.items()}, flush=True)
                if figures["score"] > best["score"]:
                    best = {"step": step + 1.0} | figures
                    save_towers(model, out)
                _save_state(state_path, step, model, optimizer, best, (encoder, settings))
    return best


@dataclass(frozen=True)
class _Words:
    """All texts of a corpus, as tokens [texts, T].

    Attributes:
        captions: of each cloud, its wordings.
        phrases: pairs of `PHRASES`.
        names: "a <noun>" of every noun.
        resembles: float [M, names], how well each name fits each cloud; rows sum to 1.
    """

    captions: list[Tensor]
    phrases: list[Tensor]
    names: Tensor
    resembles: Tensor

    @classmethod
    def of(cls, corpus: CorpusClouds, length: int, device: torch.device) -> _Words:
        nouns = sorted({noun for own in corpus.nouns for noun in own})
        column = {noun: number for number, noun in enumerate(nouns)}
        resembles = torch.zeros(len(corpus), len(nouns))
        for row, own in zip(resembles, corpus.nouns, strict=True):
            for rank, noun in enumerate(own):
                row[column[noun]] += NAME_DECAY**rank
        return cls(
            captions=[tokenize(wordings, length) for wordings in corpus.captions],
            phrases=[tokenize(pair, length).to(device) for pair in PHRASES],
            names=tokenize([f"{article(noun)} {noun}" for noun in nouns], length).to(device),
            resembles=resembles / resembles.sum(1, keepdim=True),
        )


def _losses(
    model: PointLanguagePretrainer,
    corpus: CorpusClouds,
    words: _Words,
    settings: Pretraining,
    step: int,
    device: torch.device,
) -> dict[str, tuple[float, Tensor]]:
    """Weight and value of each objective on one random batch."""
    rng = np.random.default_rng([settings.seed, step])
    rows = rng.choice(len(corpus), settings.batch_size, replace=False)
    pair = words.phrases[int(rng.integers(len(words.phrases)))]
    wordings = (words.captions[i] for i in rows)
    captions = torch.stack([own[int(rng.integers(len(own)))] for own in wordings]).to(device)
    points, surface, labels, index = _batch(corpus, rows, settings.groups, device)
    points = points @ _rotations(len(rows), rng).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
        text = model.encode_text(torch.cat([pair, captions]))
        names = model.encode_text(words.names) if settings.name else None
        embedding, patch_logits, object_logits = model(points, surface, index, text[:2])
    defective = labels.any(1).float()
    scaled = model.points.logit_scale.exp() * embedding.float()
    terms = {
        "contrast": (settings.contrast, _contrast(scaled @ text[2:].float().T)),
        "point": (settings.point, _point_loss(patch_logits.float(), index, labels)),
        "object": (
            settings.object,
            F.binary_cross_entropy_with_logits(object_logits.float(), defective),
        ),
    }
    if names is not None:
        fits = words.resembles[rows].to(device)
        terms["name"] = (settings.name, F.cross_entropy(scaled @ names.float().T, fits))
    return terms


def _contrast(similarity: Tensor) -> Tensor:
    """Eq. 1 in both directions, of similarities [B, B]."""
    own = torch.arange(len(similarity), device=similarity.device)
    return 0.5 * (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own))


def _point_loss(patch_logits: Tensor, index: Tensor, labels: Tensor) -> Tensor:
    """Focal and dice loss of the points that lie in a patch."""
    logits = patches_to_points(patch_logits, index, labels.shape[1])
    covered = torch.zeros_like(labels).scatter_(1, index.flatten(1), True)
    # focal means are small beside dice; 4 brings both to a size
    focal = focal_loss(logits[covered][None], labels[covered][None]) * 4
    return focal + dice_loss(logits.sigmoid() * covered, labels & covered)


def _batch(
    clouds: CorpusClouds, rows: np.ndarray | slice, groups: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        clouds.points[rows].to(device),
        clouds.surface[rows].to(device).float(),
        clouds.labels[rows].to(device),
        clouds.patch_index[rows, :groups].to(device).long(),
    )


def _rotations(count: int, rng: np.random.Generator) -> Tensor:
    """Random rotations, float32 [count, 3, 3]; the surface channels do not change under them."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.random(count, rng=rng).as_matrix()).float()


def corpus_features(model: PointLanguageModel, clouds: CorpusClouds) -> FeatureSet:
    """The corpus as the annotated "category" on which the embedded detector's heads are trained."""
    parts = []
    with torch.inference_mode():
        for chunk in batches(len(clouds), 16):
            surface = clouds.surface[chunk].to(model.device).float()
            features = model.encode(clouds.points[chunk].to(model.device), surface)
            kept = replace(features, taps=features.taps.half(), surface=clouds.surface[chunk])
            parts.append(kept.map(lambda tensor: tensor.cpu().clone()))
    nowhere = Path()
    samples = (
        Sample("corpus", "test", str(i), nowhere, None, bool(labels.any()))
        for i, labels in enumerate(clouds.labels)
    )
    return FeatureSet(
        category="corpus",
        samples=tuple(samples),
        features=Features.stack(parts),
        labels=clouds.labels,
        counts=(),
        region_ids=clouds.labels.int(),
        repeated=torch.zeros(len(clouds), dtype=torch.bool),
    )


def validate(
    model: PointLanguagePretrainer,
    clouds: CorpusClouds,
    phrases: Tensor,
    device: torch.device,
    bfloat16: bool,
) -> dict[str, float]:
    """Point and object AUROC, and top-1 retrieval of captions among 32 clouds."""
    model.eval()
    groups = clouds.patch_index.shape[1]  # as many as the finished encoder will use
    point_scores, objects, hits = [], [], []
    tokens = torch.cat([tokenize(wordings[:1]) for wordings in clouds.captions]).to(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        pair = model.encode_text(phrases)
        for chunk in batches(len(clouds), 32):
            points, surface, _, index = _batch(clouds, chunk, groups, device)
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
    return figures | {"score": float(np.mean([figures["point_auroc"], figures["object_auroc"]]))}


def save_towers(model: PointLanguagePretrainer, out: Path) -> None:
    """Write both towers, 16 bit."""
    from safetensors.torch import save

    for name, tower in (("points", model.points), ("text", model.text.tower)):
        state = {
            key: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
            for key, value in tower.state_dict().items()
        }
        content = save({key: value.contiguous() for key, value in state.items()})
        write_bytes(out / f"{name}.safetensors", content)


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
            f"{path}: an interrupted pretraining with other settings; repeat them, or start anew "
            "with resume=false"
        )
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return int(content["step"]) + 1, dict(content["best"])
