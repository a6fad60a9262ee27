"""Pretrain the embedded point-language model: `python scripts/pretrain.py`."""

from __future__ import annotations

from pathlib import Path

from _session import device_from, plain, script
from omegaconf import DictConfig

from btp.config import build
from btp.data.corpus.families import FAMILIES
from btp.data.corpus.shards import load_corpus
from btp.errors import ConfigError
from btp.pretraining import Pretraining, pretrain
from btp.weights.models import EncoderConfig


@script("pretrain")
def main(config: DictConfig) -> None:
    encoder = build(EncoderConfig, plain(config.encoder), "encoder")
    settings = build(Pretraining, plain(config.training), "training")
    held_out = sorted(config.held_out_families)
    unknown = set(held_out) - set(FAMILIES)
    if unknown:
        raise ConfigError(
            f"held_out_families names {', '.join(sorted(unknown))}; expected some of "
            f"{', '.join(FAMILIES)}"
        )
    families = sorted(set(FAMILIES) - set(held_out))
    root, seed, point = Path(config.corpus), config.corpus_seed, encoder.point
    validation = load_corpus(root, config.held_out_clouds, seed, held_out, point, config.workers)
    corpus = load_corpus(root, config.clouds, seed, families, point, config.workers)
    out = Path(config.out)
    best = pretrain(encoder, settings, corpus, validation, out, device_from(config), config.resume)
    print({name: round(value, 4) for name, value in best.items()})
    print(out / "points.safetensors", out / "text.safetensors", sep="\n")


if __name__ == "__main__":
    main()
