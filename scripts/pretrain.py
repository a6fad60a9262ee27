"""Pretrain the embedded point-language model: `python scripts/pretrain.py`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, replace
from pathlib import Path

from _session import command, device_from, plain, script
from omegaconf import DictConfig

from btp.config import build
from btp.data.corpus.families import FAMILIES
from btp.data.corpus.shards import load_corpus
from btp.data.prepare import N_POINTS
from btp.data.store import FeatureSet
from btp.errors import ConfigError
from btp.files import write_text
from btp.pretraining import Pretraining, corpus_features, pretrain
from btp.recipe import Recipe
from btp.training import train
from btp.weights.models import EncoderConfig, PointLanguageModel


@script("pretrain")
def main(config: DictConfig) -> None:
    encoder = build(EncoderConfig, plain(config.encoder), "encoder")
    encoder = replace(encoder, point_weights=None, text_weights=None)
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
    device = device_from(config)
    best = pretrain(encoder, settings, corpus, validation, out, device, config.resume)
    print({name: round(value, 4) for name, value in best.items()})
    made = {
        "settings": asdict(settings),
        "best": best,
        "held_out_families": held_out,
        "clouds": len(corpus),
        "heads": config.heads.clouds,
        "head_seeds": list(config.heads.seeds),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {device}",
        "command": command(),
    }
    write_text(out / "pretraining.json", json.dumps(made, indent=1) + "\n")

    trained = replace(
        encoder,
        point_weights=str(out / "points.safetensors"),
        text_weights=str(out / "text.safetensors"),
    )
    model = PointLanguageModel(trained, device)
    features = corpus_features(model, corpus.first(config.heads.clouds))
    recipe = build(Recipe, plain(config.recipe), "recipe")
    for number, head_seed in enumerate(config.heads.seeds):
        # the first ones are the embedded detector; the others tell how much the seed matters
        folder = out if number == 0 else out / "heads" / f"seed{head_seed}"
        _train_heads(config, model, features, recipe, int(head_seed), folder)
    for name in ("points", "text", "detector"):
        print(out / f"{name}.safetensors")


def _train_heads(
    config: DictConfig,
    model: PointLanguageModel,
    features: FeatureSet,
    recipe: Recipe,
    seed: int,
    folder: Path,
) -> None:
    metadata = {
        "dataset": {"name": "corpus", "clouds": len(features), "seed": config.corpus_seed},
        "train_cat": "corpus",
        "seed": seed,
        "n_points": N_POINTS,
        "sampling_seed": 0,
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
        "encoder_trained": True,
        "command": command(),
    }
    train(features, model, recipe, seed, folder, metadata, resume=config.resume)


if __name__ == "__main__":
    main()
