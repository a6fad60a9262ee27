"""The objectives of the pretraining, none of which knows an anomaly label.

Cloud and caption find each other (Eq. 1, both directions), and so do cloud and the names of
everyday things that it resembles. Of each cloud some patches are hidden, blank or exchanged for
another's, and the point tower predicts the dense cloud's local geometry there (Devlin et al.,
"BERT", NAACL 2019; Yu et al., "Point-BERT", CVPR 2022). The text tower alone learns which words say
the same of a thing's state: that "damaged" means "broken" and not "intact" is language, and no
cloud is shown with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from btp.errors import ConfigError
from btp.models.text_encoder import tokenize
from btp.pretraining.corpus.captions import article
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.model import Corruption, PointLanguagePretrainer

SOUND = ("normal", "good", "intact", "flawless", "undamaged", "perfect", "sound", "unbroken")
FAULTY = ("defective", "damaged", "faulty", "broken", "anomalous", "flawed", "bad", "abnormal")
SENTENCES = (
    "{state} {thing}.",
    "{a} {state} {thing}",
    "{thing}, {state}",
    "the {thing} is {state}",
)
THINGS = ("object", "part", "thing", "surface")
STATEMENTS = 12
"""Things whose two states are put into words in a step."""
NAME_DECAY = math.exp(-1.0)  # a cloud's next best name against the one before, as in its captions
SEEN_WEIGHT = 0.2
"""Weight of predicting the geometry of a patch that is seen, against 1 for a hidden one."""


@dataclass(frozen=True)
class Pretraining:
    """How to pretrain.

    Attributes:
        steps: of the optimiser.
        batch_size: B clouds a step; each is the others' negative.
        groups: patches a cloud while training, drawn anew in each step from all that the encoder
            will use afterwards.
        learning_rate, weight_decay, warmup: of AdamW and its cosine schedule, warm-up in steps.
        contrast, name, geometry, language: weights of the objectives.
        whole: share of clouds of which nothing is hidden.
        hidden: least and largest share of patches that are hidden of the others.
        foreign: share of hidden patches that are exchanged for another's and not blank.
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
    name: float = 0.5
    geometry: float = 1.0
    language: float = 0.2
    whole: float = 0.25
    hidden: tuple[float, float] = (0.3, 0.8)
    foreign: float = 0.3
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
        nouns: of each cloud, columns of `names`, best first.
        names: "a <noun>" of every noun.
        statements: [things, 2, wordings, T], a thing's sound and its faulty state in words.
        log_prior: float [names], logarithm of how often a name fits.
    """

    captions: list[Tensor]
    nouns: list[tuple[int, ...]]
    names: Tensor
    statements: Tensor
    log_prior: Tensor

    @classmethod
    def of(cls, corpus: CorpusClouds, length: int, device: torch.device) -> Words:
        """Tokenize the texts of a corpus, at most `length` tokens each."""
        nouns = sorted({noun for own in corpus.nouns for noun in own})
        column = {noun: number for number, noun in enumerate(nouns)}
        columns = [tuple(column[noun] for noun in own) for own in corpus.nouns]
        prior = torch.zeros(len(nouns))
        for own in columns:
            for number, share in zip(own, _shares(len(own)), strict=True):
                prior[number] += share / len(columns)
        return cls(
            captions=[tokenize(wordings, length) for wordings in corpus.captions],
            nouns=columns,
            names=tokenize([f"{article(noun)} {noun}" for noun in nouns], length).to(device),
            statements=_statements([*THINGS, *nouns], length).to(device),
            log_prior=prior.log().to(device),
        )

    def learned(self) -> Tensor:
        """Return the tokens that occur in any text: int64 [T], sorted."""
        texts = [*self.captions, self.names.cpu(), self.statements.cpu()]
        return torch.cat([tokens.unique() for tokens in texts]).unique()


def _shares(count: int) -> list[float]:
    """Return how well each of a cloud's names fits, best first; they sum to 1."""
    shares = [NAME_DECAY**rank for rank in range(count)]
    return [share / sum(shares) for share in shares]


def _statements(things: Sequence[str], length: int) -> Tensor:
    """Say of each thing in all wordings that it is sound, and that it is faulty."""
    rows = []
    for thing in things:
        for states in (SOUND, FAULTY):
            for state in states:
                for sentence in SENTENCES:
                    rows.append(sentence.format(a=article(state), state=state, thing=thing))
    return tokenize(rows, length).view(len(things), 2, -1, length)


def losses(
    model: PointLanguagePretrainer,
    corpus: CorpusClouds,
    words: Words,
    settings: Pretraining,
    step: int,
    device: torch.device,
) -> dict[str, tuple[float, Tensor]]:
    """Compute the weight and value (scalar) of each objective on the random batch of one step."""
    rng = np.random.default_rng([settings.seed, step])
    rows = rng.choice(len(corpus), settings.batch_size, replace=False)
    drawn = rng.choice(corpus.patch_index.shape[1], settings.groups, replace=False)
    points, surface, index = batch(corpus, rows, drawn, device)
    points = points @ _rotations(len(rows), rng).to(device)
    hidden = corruption(len(rows), settings.groups, settings, rng, device)
    wordings = (words.captions[i] for i in rows)
    captions = torch.stack([own[int(rng.integers(len(own)))] for own in wordings]).to(device)
    named = sorted({number for row in rows for number in words.nouns[row]})
    fits = torch.zeros(len(rows), len(named))
    for own, row in zip(fits, rows, strict=True):
        for number, share in zip(words.nouns[row], _shares(len(words.nouns[row])), strict=True):
            own[named.index(number)] += share
    statements = _two_wordings(words.statements, rng)
    short = torch.cat([words.names[named], statements.flatten(0, 1)])
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
        caption = model.encode_text(captions).float()
        name, state = model.encode_text(short).float().split([len(named), 2 * statements.shape[1]])
        embedding, predicted = model(points, surface, index, hidden)
    scale = model.points.logit_scale.exp()
    scaled = scale * embedding.float()
    # the prior is learned for the embeddings (Menon et al., "Long-tail learning via logit
    # adjustment", ICLR 2021), or a cloud would look like what the corpus has most of
    logits = scaled @ name.T + words.log_prior[named]
    one, other = state.view(2, -1, state.shape[1])
    targets = model.geometry_targets(surface, index)
    return {
        "contrast": (settings.contrast, _contrast(scaled @ caption.T)),
        "name": (settings.name, F.cross_entropy(logits, fits.to(device))),
        "geometry": (settings.geometry, _geometry(predicted.float(), targets, hidden.hidden)),
        "language": (settings.language, _contrast(scale * one @ other.T)),
    }


def corruption(
    clouds: int,
    groups: int,
    settings: Pretraining,
    rng: np.random.Generator,
    device: torch.device,
) -> Corruption:
    """Draw which patches of a batch are blank, and which are exchanged for another's.

    How many of all patches are so is fixed by the settings, so that every step has equal sizes;
    how many of one cloud's differs widely.
    """
    low, high = settings.hidden
    share = rng.permutation(np.linspace(low, high, clouds))
    share[: int(settings.whole * clouds)] = 0.0
    count = round(float(share.sum()) * groups)
    with np.errstate(divide="ignore"):
        first = np.argsort((rng.random((clouds, groups)) / share[:, None]).ravel())[:count]
    exchanged = first[rng.random(count).argsort() < round(settings.foreign * count)]
    blank, foreign = np.zeros((2, clouds * groups), bool)
    blank[first], foreign[exchanged] = True, True
    blank[exchanged] = False
    source = rng.integers(clouds * groups, size=clouds * groups)
    drawn = (blank, foreign, source)
    return Corruption(*(torch.from_numpy(a.reshape(clouds, groups)).to(device) for a in drawn))


def _two_wordings(statements: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw things, and two wordings of each of their states: tokens [2, 2 x things, T]."""
    things = rng.choice(len(statements), min(STATEMENTS, len(statements)), replace=False)
    pairs = [rng.choice(statements.shape[2], 2, replace=False) for _ in range(2 * len(things))]
    chosen = statements[things].flatten(0, 1)  # [2 x things, wordings, T]
    wordings = torch.from_numpy(np.stack(pairs)).T.to(statements.device)  # [2, 2 x things]
    return chosen[torch.arange(chosen.shape[0], device=chosen.device), wordings]


def _contrast(similarity: Tensor) -> Tensor:
    """Compute Eq. 1 in both directions from similarities [B, B]."""
    own = torch.arange(len(similarity), device=similarity.device)
    return 0.5 * (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own))


def _geometry(predicted: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
    """Compare predicted and true geometry [B, G, T]; hidden patches [B, G] weigh most."""
    error = F.smooth_l1_loss(predicted, targets, reduction="none").mean(2)
    weight = SEEN_WEIGHT + (1 - SEEN_WEIGHT) * hidden.float()
    return (error * weight).sum() / weight.sum()


def batch(
    clouds: CorpusClouds,
    rows: np.ndarray | slice,
    patches: np.ndarray | slice,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return points [B, N, 3], surface [B, N, F] and patches [B, G, K] of some clouds."""
    return (
        clouds.points[rows].to(device),
        clouds.surface[rows].to(device).float(),
        clouds.patch_index[rows][:, patches].to(device).long(),
    )


def _rotations(count: int, rng: np.random.Generator) -> Tensor:
    """Draw rotations, float32 [count, 3, 3]; the surface channels do not change under them."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.random(count, rng=rng).as_matrix()).float()
