"""Learned prompts: the text tower over all its places, against what the prompts need of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from btp.benchmark import released_model
from btp.benchmark.measure import as_installed, measure_both
from btp.benchmark.settings import Settings
from btp.benchmark.table import Row, row
from btp.benchmark.workload import Workload, make
from btp.losses import joint_loss
from btp.models.fast import PackedPrompts, for_training
from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import TextConfig, TextEncoder
from btp.recipe import Recipe
from btp.training.loop import run_epoch
from btp.training.trainee import Trainee, make_optimizer

EXACT_TOLERANCE = 1e-4  # of gradients, relative: the same features, in another order of sums


def rows(settings: Settings) -> Iterator[Row]:
    """Measure the text tower's part of a step, and a whole step of recipe=paper."""
    config = TextConfig(layers=settings.text_layers)
    if settings.encoders[0].point.embed_dim != config.embed_dim:
        config = settings.encoders[0].text  # not the paper's: a small one, in tests
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = TextEncoder(config).eval().requires_grad_(False).to(settings.device)
        prompts = HybridPromptLearner(tower, ("normal object.", "defective object."))
    prompts = prompts.to(settings.device)
    tower_alone = _tower_alone(settings, tower, prompts)
    yield tower_alone
    yield _step(settings, tower, prompts, tower_alone)


def _tower_alone(settings: Settings, tower: TextEncoder, prompts: HybridPromptLearner) -> Row:
    packed = PackedPrompts(prompts)

    def plain() -> tuple[Tensor, Tensor]:
        with as_installed():
            return _context_gradient(prompts, _all_places(tower, prompts))

    def ours() -> tuple[Tensor, Tensor]:
        return _context_gradient(prompts, packed(tower))

    ours()
    both = measure_both(plain, ours, settings.repeats, settings.device)
    pairs = zip(both[0].value, both[1].value, strict=True)
    return row(
        "train",
        f"learned prompts, text tower forward and backward, {tower.config.layers} layers",
        *both,
        device=settings.device,
        difference=max(float((a - b).norm() / a.norm()) for a, b in pairs),
        tolerance=EXACT_TOLERANCE,
        note="float32; the whole tower has 32 layers",
    )


def _step(
    settings: Settings, tower: TextEncoder, prompts: HybridPromptLearner, tower_alone: Row
) -> Row:
    """Measure a step of the paper's recipe: heads, and prompts through the text tower."""
    recipe = Recipe().changed(epochs=settings.recipe.training.epochs)
    size = recipe.training.batch_size
    work = make(replace(settings, recipe=recipe), settings.encoders[0], size)
    work.model.text = tower
    plain, ours = _plain_step(work, tower, prompts), _our_step(work, prompts)
    plain()
    ours()
    both = measure_both(plain, ours, settings.repeats, settings.device)
    layers, all_layers = tower.config.layers, TextConfig().layers
    more = all_layers / layers - 1
    assert tower_alone.plain is not None and tower_alone.ours is not None
    whole = [both[0].seconds + more * tower_alone.plain, both[1].seconds + more * tower_alone.ours]
    return row(
        "train",
        f"{settings.encoders[0].name}, a step of recipe=paper, text tower of {layers} layers",
        *both,
        device=settings.device,
        difference=_difference(work, tower, prompts),
        tolerance=EXACT_TOLERANCE,
        note=(
            "plain: the models as they are defined, the tower over its 77 places; with all its "
            f"{all_layers} layers, by the row before: plain {whole[0]:.3g} s, ours {whole[1]:.3g} s"
        ),
    )


def _plain_step(
    work: Workload, tower: TextEncoder, prompts: HybridPromptLearner
) -> Callable[[], float]:
    detector, own = copy.deepcopy(work.detector).train(), copy.deepcopy(prompts)
    trained = [*detector.parameters(), *own.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=5e-4, betas=(0.9, 0.999))
    update = released_model.step(
        detector, work.recipe, optimizer, text=lambda: _all_places(tower, own)
    )

    def one_step() -> float:
        with as_installed():
            return update(*work.data.batch(slice(0, len(work.data)), work.model.device))

    return one_step


def _our_step(work: Workload, prompts: HybridPromptLearner) -> Callable[[], float]:
    trainee = Trainee(work.model, copy.deepcopy(work.detector), copy.deepcopy(prompts)).train()
    optimizer = make_optimizer(trainee, work.recipe.training)
    return lambda: run_epoch(trainee, optimizer, work.data, work.recipe, 111, 0)["total"]


def _difference(work: Workload, tower: TextEncoder, prompts: HybridPromptLearner) -> float:
    """Return the larger relative difference: of the loss, and of its gradient as a whole."""
    features, labels = work.data.batch(slice(0, len(work.data)), work.model.device)
    temperature = work.recipe.training.geo_temperature

    def loss_and_gradient(fast: bool) -> tuple[float, Tensor]:
        detector, own = copy.deepcopy(work.detector).train(), copy.deepcopy(prompts)
        text = PackedPrompts(own)(tower) if fast else _all_places(tower, own)
        scores = (for_training(detector) if fast else detector)(features, text)
        loss = joint_loss(scores, labels, features.fpfh, work.recipe.loss, temperature)["total"]
        trained = [*detector.parameters(), *own.parameters()]
        gradients = torch.autograd.grad(loss, trained)
        return float(loss.detach()), torch.cat([each.flatten() for each in gradients])

    (loss, gradient), (other, others) = loss_and_gradient(False), loss_and_gradient(True)
    return max(abs(loss - other) / abs(loss), float((gradient - others).norm() / gradient.norm()))


def _all_places(tower: TextEncoder, prompts: HybridPromptLearner) -> Tensor:
    length = tower.config.context_length
    context = prompts.context.expand(2, -1, -1)
    words = torch.cat([prompts.prefix, context, prompts.suffix], 1)[:, :length]
    x = words + tower.tower.positional_embedding
    return F.normalize(tower.tower(x, prompts.end), dim=-1)


def _context_gradient(prompts: HybridPromptLearner, text: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings, and the context's gradient of their first entries."""
    prompts.zero_grad()
    (text[1] - text[0])[: len(text[0]) // 2].sum().backward()
    assert prompts.context.grad is not None
    return text.detach().cpu(), prompts.context.grad.cpu()
