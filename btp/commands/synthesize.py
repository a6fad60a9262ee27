"""Put defects on your own meshes: `btp synthesize source=DIR out=DIR`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import script, whole, whole_or_none
from btp.data.synthesis.own_meshes import synthesize
from btp.data.synthesis.scanner import SetSize


@script("synthesize")
def main(config: DictConfig) -> None:
    size = SetSize(*(whole(config, key, 0) for key in ("train", "normal", "defective")))
    seed, workers = whole(config, "seed", 0), whole_or_none(config, "workers")
    out = synthesize(Path(config.source), Path(config.out), seed, size, workers)
    print(f"wrote {out.resolve()}")
