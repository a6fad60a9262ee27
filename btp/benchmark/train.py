"""Training: the encoder and FPFH in every step, against features that are stored once."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from btp.benchmark import prompts, released_model
from btp.benchmark.measure import Measured, as_installed, measure
from btp.benchmark.prompts import EXACT_TOLERANCE
from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row, row
from btp.benchmark.workload import Workload, make, repeated, target
from btp.features.store import FeatureSet
from btp.losses import joint_loss
from btp.models.detector import Detector
from btp.models.fast import for_encoding, for_training
from btp.recipe import Recipe
from btp.training.loop import train
from btp.types import Features

HALF_TOLERANCE = 2e-2  # of gradients, relative: the stored taps have 16 bits


def rows(settings: Settings) -> Iterator[Row]:
    """Measure a training run of each encoder, its heads alone, and steps of prompt learning."""
    for encoder in settings.encoders:
        work = make(settings, encoder, 2 * settings.recipe.training.batch_size)
        paper = encoder is settings.encoders[0]
        yield from _run(settings, work, encoder.name, paper)
    yield from prompts.rows(settings)


def _run(settings: Settings, work: Workload, name: str, paper: bool) -> Iterator[Row]:
    device, on_cuda = settings.device, settings.device.startswith("cuda")
    steps, clouds = settings.run_steps, settings.run_clouds
    ours, setup = _our_step(settings, work)
    plain = measure(_plain_step(work, encoded=False), settings.plain_steps, device)
    once = measure(lambda: _encode_once(work), settings.repeats, device).seconds / len(work.data)
    ratio = (50.0 if on_cuda else 8.0) if paper else None
    yield row(
        "train",
        f"{name}, one category, {settings.run_epochs} epochs × {clouds} clouds",
        plain,
        ours,
        plain_times=steps,
        our_times=steps,
        our_extra=setup + clouds * once,
        device=device,
        goal=None if ratio is None else Goal(ratio=ratio),
        difference=difference(work, encoded=False),
        tolerance=HALF_TOLERANCE,
        note=(
            f"plain: {plain.runs} steps of {plain.seconds:.3g} s measured, × {steps:,}; ours: "
            f"{settings.our_steps} steps of {ours.seconds:.3g} s measured, × {steps:,}, + {clouds} "
            f"clouds encoded once, {once:.3g} s each, + {setup:.2g} s before the first step"
        ),
    )
    heads = measure(_plain_step(work, encoded=True), settings.plain_steps, device)
    yield row(
        "train",
        f"{name}, a step of the heads alone",
        heads,
        ours,
        device=device,
        difference=difference(work, encoded=True),
        tolerance=EXACT_TOLERANCE,
    )
    if paper:
        yield whole_run(settings, work, name)


def _our_step(settings: Settings, work: Workload) -> tuple[Measured[None], float]:
    """Measure a step of `train`, and the seconds that `train` takes besides its steps."""
    size, device = settings.recipe.training.batch_size, settings.device
    one, more = (repeated(work.data, size * n) for n in (1, 1 + settings.our_steps))
    _train(settings, work, one, 1)
    short = measure(lambda: _train(settings, work, one, 1), settings.repeats, device)
    long = measure(lambda: _train(settings, work, more, 1), settings.repeats, device)
    step = (long.seconds - short.seconds) / settings.our_steps
    cpu = (long.cpu_seconds - short.cpu_seconds) / settings.our_steps
    if min(step, cpu) <= 0:  # so tiny a model that the noise is larger: count all as steps
        step, cpu = (t / (1 + settings.our_steps) for t in (long.seconds, long.cpu_seconds))
    return replace(long, seconds=step, cpu_seconds=cpu), max(0.0, short.seconds - step)


def _train(settings: Settings, work: Workload, data: FeatureSet, epochs: int) -> None:
    recipe = settings.recipe.changed(epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        train(data, work.model, recipe, 111, Path(folder), quiet=True)


def _encode_once(work: Workload) -> None:
    """Do what the store does with a cloud, besides preparing and writing it."""
    points = work.data.features.points
    with torch.inference_mode():
        surface = None if work.surface is None else work.surface.to(work.model.device)
        features = for_encoding(work.model).encode(points.to(work.model.device), surface)
    for cloud, index in zip(points, features.patch_index.cpu().numpy(), strict=True):
        target(cloud, index)


def _batch(work: Workload, encoded: bool) -> tuple[Features, Tensor]:
    """Return the first batch's features, as they are stored or encoded anew, and its labels."""
    size = work.recipe.training.batch_size
    features, labels = work.data.batch(slice(0, size), work.model.device)
    if encoded:
        return features, labels
    surface = features.surface if work.model.reads_surface else None
    with torch.no_grad():
        fresh = released_model.encode(work.model.points, features.points, surface)
    targets = [
        target(points, index.cpu().numpy(), released_model.describe)
        for points, index in zip(features.points, fresh.patch_index, strict=True)
    ]
    return replace(fresh, fpfh=torch.stack(targets).to(work.model.device)), labels


def _plain_step(work: Workload, encoded: bool) -> Callable[[], float]:
    detector = copy.deepcopy(work.detector).train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=5e-4, betas=(0.9, 0.999))
    update = released_model.step(detector, work.recipe, optimizer)

    def one_step() -> float:
        with as_installed():
            return update(*_batch(work, encoded))

    one_step()
    return one_step


def difference(work: Workload, encoded: bool) -> float:
    """Return the larger relative difference: of the loss, and of its gradient as a whole."""
    plain = copy.deepcopy(work.detector).train()
    ours = copy.deepcopy(work.detector).train()
    loss, gradient = _gradient(work.recipe, plain, plain, *_batch(work, encoded))
    fast = for_training(ours)
    other, others = _gradient(work.recipe, ours, fast, *_batch(work, encoded=True))
    norm = float(gradient.norm())
    return max(abs(loss - other) / abs(loss), float((gradient - others).norm()) / norm)


def _gradient(
    recipe: Recipe, detector: Detector, forward: Callable, features: Features, labels: Tensor
) -> tuple[float, Tensor]:
    temperature = recipe.training.geo_temperature
    terms = joint_loss(forward(features), labels, features.fpfh, recipe.loss, temperature)
    terms["total"].backward()
    gradients = [p.grad.flatten() for p in detector.parameters() if p.grad is not None]
    return float(terms["total"].detach()), torch.cat(gradients).cpu()


def whole_run(settings: Settings, work: Workload, name: str) -> Row:
    """Time all steps of one run where `settings.full` asks for it; otherwise an empty row."""
    what = f"{name}, one run of {settings.run_steps:,} steps from stored features"
    goal = Goal(seconds=10, on_gpu=True)
    if not settings.full:
        return Row("train", what, goal=goal)
    data = repeated(work.data, settings.run_clouds)
    ours = measure(lambda: _train(settings, work, data, settings.run_epochs), 1, settings.device)
    return row("train", what, None, ours, device=settings.device, goal=goal)
