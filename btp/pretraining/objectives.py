"""The objectives of the pretraining.

Cloud and caption find each other (Eq. 1, both directions), each patch agrees with "normal" or
"defective" phrases by its points' labels, and so does the whole cloud by its own: these give the
words of BTP's prompts a meaning in the shared space. A cloud also finds the names of everyday
things that it resembles among all names of the corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from btp.errors import ConfigError
from btp.geometry.patches import patches_to_points
from btp.losses import dice_loss, focal_loss
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.captions import article
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.model import PointLanguagePretrainer

PHRASES = (
    ("normal object.", "defective object."),
    ("a normal object", "a defective object"),
    ("a good part", "a damaged part"),
    ("an intact surface", "a surface with a defect"),
    ("flawless", "faulty"),
    ("an undamaged thing", "an anomalous thing"),
)
NAME_DECAY = math.exp(-1.0)  # a cloud's next best name against the one before, as in its captions


@dataclass(frozen=True)
class Pretraining:
    """How to pretrain.

    Attributes:
        steps: of the optimiser.
        batch_size: B clouds a step; each is the others' negative.
        groups: patches a cloud while training, drawn anew in each step from all that the encoder
            will use afterwards.
        learning_rate, weight_decay, warmup: of AdamW and its cosine schedule, warm-up in steps.
        contrast, name, point, object: weights of the objectives; names cost nothing at 0.
        bfloat16: autocast both towers.
        compile: the point tower, by `torch.compile`, which needs a C++ compiler on CPU.
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
    compile: bool = False
    validate_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 2), ("groups", 1), ("validate_every", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"training.{name} is {getattr(self, name)}; expected {least} or more"
                )


@dataclass(frozen=True)
class Words:
    """All texts of a corpus, as tokens [texts, T].

    Attributes:
        captions: of each cloud, its wordings.
        phrases: pairs of `PHRASES`.
        names: "a <noun>" of every noun.
        resembles: float [M, names], how well each name fits each cloud; rows sum to 1.
        log_prior: float [names], logarithm of how often a name fits.
    """

    captions: list[Tensor]
    phrases: list[Tensor]
    names: Tensor
    resembles: Tensor
    log_prior: Tensor

    @classmethod
    def of(cls, corpus: CorpusClouds, length: int, device: torch.device) -> Words:
        """The texts of a corpus, at most `length` tokens each."""
        nouns = sorted({noun for own in corpus.nouns for noun in own})
        column = {noun: number for number, noun in enumerate(nouns)}
        resembles = torch.zeros(len(corpus), len(nouns))
        for row, own in zip(resembles, corpus.nouns, strict=True):
            for rank, noun in enumerate(own):
                row[column[noun]] += NAME_DECAY**rank
        resembles /= resembles.sum(1, keepdim=True)
        return cls(
            captions=[tokenize(wordings, length) for wordings in corpus.captions],
            phrases=[tokenize(pair, length).to(device) for pair in PHRASES],
            names=tokenize([f"{article(noun)} {noun}" for noun in nouns], length).to(device),
            resembles=resembles,
            log_prior=resembles.mean(0).log().to(device),
        )


def losses(
    model: PointLanguagePretrainer,
    corpus: CorpusClouds,
    words: Words,
    settings: Pretraining,
    step: int,
    device: torch.device,
) -> dict[str, tuple[float, Tensor]]:
    """Weight and value (scalar) of each objective on the random batch of one step."""
    rng = np.random.default_rng([settings.seed, step])
    rows = rng.choice(len(corpus), settings.batch_size, replace=False)
    pair = words.phrases[int(rng.integers(len(words.phrases)))]
    wordings = (words.captions[i] for i in rows)
    captions = torch.stack([own[int(rng.integers(len(own)))] for own in wordings]).to(device)
    drawn = rng.choice(corpus.patch_index.shape[1], settings.groups, replace=False)
    points, surface, labels, index = batch(corpus, rows, drawn, device)
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
        # the prior is learned for the embeddings (Menon et al., "Long-tail learning via logit
        # adjustment", ICLR 2021), or a cloud would look like what the corpus has most of
        logits = scaled @ names.float().T + words.log_prior
        terms["name"] = (settings.name, F.cross_entropy(logits, fits))
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


def batch(
    clouds: CorpusClouds,
    rows: np.ndarray | slice,
    patches: np.ndarray | slice,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points [B, N, 3], surface [B, N, F], labels [B, N] and patches [B, G, K] of some clouds."""
    return (
        clouds.points[rows].to(device),
        clouds.surface[rows].to(device).float(),
        clouds.labels[rows].to(device),
        clouds.patch_index[rows][:, patches].to(device).long(),
    )


def _rotations(count: int, rng: np.random.Generator) -> Tensor:
    """Random rotations, float32 [count, 3, 3]; the surface channels do not change under them."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.random(count, rng=rng).as_matrix()).float()
