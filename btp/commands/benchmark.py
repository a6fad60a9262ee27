"""Measure the plain way beside ours: `btp benchmark only=metrics,prepare`."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from btp.benchmark.run import run
from btp.benchmark.settings import Settings
from btp.commands.settings import device_from, plain, script, whole_or_none
from btp.config import build
from btp.errors import ConfigError
from btp.models.point_language import EncoderConfig
from btp.recipe import Recipe


@script("benchmark")
def main(config: DictConfig) -> None:
    device = str(device_from(config))
    if config.full not in (True, False, "auto"):
        raise ConfigError(f"full is {config.full!r}; expected auto, true or false")
    threads = whole_or_none(config, "threads")
    if threads is not None:
        torch.set_num_threads(threads)
    encoders = plain(config.encoders)
    settings = build(
        Settings,
        {
            **plain(config.sizes),
            "only": list(config.only),
            "device": device,
            "full": device.startswith("cuda") if config.full == "auto" else config.full,
            "encoders": [
                build(EncoderConfig, encoder, f"encoders.{name}")
                for name, encoder in encoders.items()
            ],
            "recipe": Recipe.from_flat(plain(config.recipe)),
        },
        "sizes",
    )
    rows = run(settings, Path(config.out))
    differing = [row.what for row in rows if not row.equal]
    if differing:
        raise ConfigError(
            f"plain and ours give different results for {'; '.join(differing)}; expected the same "
            "within the tolerance in the table. No ratio is given: find the fault first"
        )
