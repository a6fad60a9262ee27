"""Pretrain the embedded point-language model: `btp pretrain`."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from btp.commands.settings import bfloat16_from, command, device_from, plain, script, whole
from btp.commands.workspace import encoder_from
from btp.config import build
from btp.errors import ConfigError
from btp.features.store import FeatureSet
from btp.models.checkpoint import load_detector
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.pretraining.corpus.items import Families
from btp.pretraining.corpus.meshes import Meshes, mesh_files
from btp.pretraining.corpus.shards import CorpusClouds, join, load_corpus
from btp.pretraining.heads import corpus_features
from btp.pretraining.loop import pretrain
from btp.pretraining.makers.kinds import SEEN, UNSEEN
from btp.pretraining.objectives import Pretraining
from btp.pretraining.validation import names_found, shared_nouns, validation_figures
from btp.recipe import Recipe
from btp.runtime.files import write_text
from btp.runtime.own_files import own_file
from btp.runtime.processor import multiplies_in_16_bit
from btp.training.loop import train
from btp.training.resume import forget_state
from btp.types import N_POINTS
from btp.weights.state_dict import read_metadata

FILE = "detector.safetensors"


@script("pretrain")
def main(config: DictConfig) -> None:
    encoder = encoder_from(config)
    encoder = replace(encoder, point_weights=None, text_weights=None, heads=None)
    device = device_from(config)
    bfloat16 = bfloat16_from(config.training)
    training = plain(config.training) | {
        "bfloat16": multiplies_in_16_bit(device) if bfloat16 is None else bfloat16
    }
    settings = build(Pretraining, training, "training")
    if config.validation.seed == config.corpus_seed:
        raise ConfigError(
            f"validation.seed and corpus_seed are both {config.corpus_seed}: expected two, or the "
            "validation would see what is trained on"
        )
    corpus, validation = _corpora(config, encoder)
    start = None if config.start is None else Path(config.start)
    out = Path(config.out)
    before = None if start is None else _made_before(start, out)
    best = pretrain(encoder, settings, corpus, join(validation), out, device, config.resume, start)
    print({name: round(value, 4) for name, value in best.items()})
    made = {
        "settings": asdict(settings),
        "best": best,
        "clouds": len(corpus),
        "origins": dict(sorted(Counter(corpus.origins).items())),
        "heads": min(config.heads.clouds, len(corpus)),
        "head_seeds": list(config.heads.seeds),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {device}",
        "revision": _revision(),
        "command": command(),
        "before": before,
    }
    write_text(out / "pretraining.json", json.dumps(made, indent=1) + "\n")

    trained = replace(
        encoder,
        point_weights=str(out / "points.safetensors"),
        text_weights=str(out / "text.safetensors"),
    )
    model = PointLanguageModel(trained, device)
    rows = np.random.default_rng(0).permutation(len(corpus))[: config.heads.clouds]
    features = corpus_features(model, corpus.chosen(rows.tolist()))
    recipe = Recipe.from_flat(plain(config.recipe))
    for number, head_seed in enumerate(config.heads.seeds):
        # the first ones are the embedded detector; the others tell how much the seed matters
        folder = out if number == 0 else out / "heads" / f"seed{head_seed}"
        _train_heads(config, model, features, recipe, int(head_seed), folder)
        figures = validation_figures(load_detector(folder / FILE)[0], model, validation[-1])
        figures |= names_found(model, validation[-1], shared_nouns(corpus, validation[-1]))
        write_text(folder / "validation.json", json.dumps(figures, indent=1) + "\n")
        print({name: round(value, 3) for name, value in figures.items()})
    for name in ("points", "text", "detector"):
        print(out / f"{name}.safetensors")


def _corpora(config: DictConfig, encoder: EncoderConfig) -> tuple[CorpusClouds, list[CorpusClouds]]:
    """Load what is trained on, and the parts of the validation: bodies, and meshes if given."""
    root = Path(config.corpus)
    load = functools.partial(
        load_corpus, root, config=encoder.point, workers=whole(config, "workers", 1)
    )
    training = [load(config.clouds, config.corpus_seed, Families())]
    validation = [load(config.validation.clouds, config.validation.seed, Families())]
    names = None if config.names is None else Path(config.names)
    for parts, settings, seed, kinds in (
        (training, config, config.corpus_seed, SEEN),
        (validation, config.validation, config.validation.seed, UNSEEN),
    ):
        folders = settings.meshes
        if folders:
            listed = folders.split(",") if isinstance(folders, str) else folders
            files = mesh_files([Path(folder) for folder in listed], names)
            parts.append(load(settings.mesh_clouds, seed, Meshes(files, root / "surfaces", kinds)))
    return join(training), validation


def _made_before(start: Path, out: Path) -> dict[str, Any]:
    """How the towers to start from were made."""
    if start.resolve() == out.resolve():
        raise ConfigError(f"start and out are both {out}; expected two, to keep what there was")
    record = start / "pretraining.json"
    if not record.is_file():
        raise ConfigError(
            f"{record}: no such file; expected the folder of an earlier pretraining as start"
        )
    return dict(json.loads(record.read_text()))


def _revision() -> str | None:
    """The commit of this checkout, marked if there are changes; None outside one."""
    describe = ["git", "-C", str(own_file(".")), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _train_heads(
    config: DictConfig,
    model: PointLanguageModel,
    features: FeatureSet,
    recipe: Recipe,
    seed: int,
    folder: Path,
) -> None:
    path = folder / FILE
    metadata = {
        "dataset": {"name": "corpus", "clouds": len(features), "seed": config.corpus_seed},
        "train_cat": "corpus",
        "seed": seed,
        "n_points": N_POINTS,
        "sampling_seed": 0,
        "encoder_fingerprint": model.fingerprint,
        "text_fingerprint": model.text_fingerprint,
        "encoder_trained": True,
    }
    about = read_metadata(path) if config.resume and path.is_file() else None
    wanted = json.loads(json.dumps(metadata | {"recipe": recipe.flat()}))
    if about is not None and about | wanted == about:  # finished before a stop
        forget_state(folder)
        return
    metadata["command"] = command()
    train(features, model, recipe, seed, folder, metadata, resume=config.resume)
