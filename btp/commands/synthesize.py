"""Put defects on your own meshes: `python scripts/synthesize.py source=DIR out=DIR`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import script
from btp.data.synthesis.own_meshes import synthesize
from btp.data.synthesis.scanner import SetSize


@script("synthesize")
def main(config: DictConfig) -> None:
    size = SetSize(config.train, config.normal, config.defective)
    out = synthesize(Path(config.source), Path(config.out), config.seed, size, config.workers)
    print(f"wrote {out.resolve()}")


if __name__ == "__main__":
    main()
