"""The sizes of all measurements, from configs/benchmark.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from btp.errors import ConfigError
from btp.models.point_language import EncoderConfig
from btp.recipe import Recipe

SECTIONS = ("train", "score", "metrics", "prepare", "start", "throughput", "latency", "growth")


@dataclass(frozen=True)
class Settings:
    """How large each measurement is; where a figure is for more, the table says how it was scaled.

    Attributes:
        encoders: those that are measured; the first is the paper's. Without their weight files
            they are random, which takes the same time.
        recipe: of the heads, on both sides.
        only: sections to measure, of `SECTIONS`; empty for all.
        device: as PyTorch names it.
        full: train whole runs instead of a few steps.
        repeats: of each measurement; the median counts.
        slow_repeats: of those that take many seconds.
        n_points: N, sampled points a cloud.
        run_clouds, run_epochs: of one training run.
        plain_steps, our_steps: training steps measured of it.
        score_clouds: clouds scored at a time.
        raw_points: of a raw cloud that is scored.
        metric_clouds, metric_points: of a category at full resolution.
        sample_points: of a raw cloud that is sampled.
        sample_steps: steps of the plain sampling measured of N.
        large_points: of the largest raw cloud.
        clip_share: OpenCLIP is built with one in so many of its layers, and counted as often.
        text_layers: layers of the text tower measured of its 32.
        growth_points, growth_batches, growth_stores: what the tables of growth run over.
    """

    encoders: tuple[EncoderConfig, ...]
    recipe: Recipe
    only: tuple[str, ...] = ()
    device: str = "cpu"
    full: bool = False
    repeats: int = 5
    slow_repeats: int = 3
    n_points: int = 2048
    run_clouds: int = 100
    run_epochs: int = 100
    plain_steps: int = 3
    our_steps: int = 10
    score_clouds: int = 8
    raw_points: int = 20_000
    metric_clouds: int = 100
    metric_points: int = 130_000
    sample_points: int = 1_000_000
    sample_steps: int = 128
    large_points: int = 2_700_000
    clip_share: int = 8
    text_layers: int = 2
    growth_points: tuple[int, ...] = (1024, 2048, 4096, 8192)
    growth_batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    growth_stores: tuple[int, ...] = (10, 100, 1000)

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in SECTIONS]
        if unknown:
            raise ConfigError(
                f"only names {', '.join(unknown)}; expected some of {', '.join(SECTIONS)}"
            )
        for name, value in vars(self).items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1")

    @property
    def run_steps(self) -> int:
        """Number of steps of one training run."""
        return self.run_epochs * (self.run_clouds // self.recipe.training.batch_size)
