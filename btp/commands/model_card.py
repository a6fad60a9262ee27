"""Measure the embedded model and write its card: `btp model_card`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import script
from btp.commands.workspace import model_from
from btp.data.catalog import open_dataset
from btp.experiments.protocol import train_categories
from btp.features.store import DiskStore
from btp.inspect.predictor import load
from btp.pretraining.model_card import (
    Spread,
    embedded_figures,
    heads_folders,
    one_category,
    predicted_figures,
    recognition,
    write_card,
)

# What the language model is worth: new heads with the same geometry, on it and on an untrained one.
UNTRAINED, NEW_HEADS = "mini_untrained", "plus,heads=new"


@script("model_card")
def main(config: DictConfig) -> None:
    model = model_from(config)
    store = DiskStore(Path(config.store), model)
    folder = Path(config.folder)
    demo = open_dataset("demo", config.demo)
    sets = {"demo set, 12 categories": demo}
    if config.parts is not None:
        parts = open_dataset("folder", config.parts)
        sets[f"scans of {len(parts.categories)} real meshes"] = parts
    heads = [path / "detector.safetensors" for path in heads_folders(folder)]
    spreads = []
    for name, dataset in sets.items():
        rows = [embedded_figures(path, dataset, store) for path in heads]
        spreads.append(Spread.of(f'`btp.load("mini")`, 2,048 points: {name}', rows))
        predicted = predicted_figures([load(path, model.device) for path in heads], dataset)
        spreads.append(Spread.of(f'`btp.load("mini").predict`: {name}', predicted))
    outputs, some = Path(config.outputs), train_categories("demo", demo.categories)
    for encoder, label, trained_on, title in (
        (model.config.name, "plus", demo.categories, ""),
        (model.config.name, NEW_HEADS, some, f", trained on {', '.join(some)}"),
        (UNTRAINED, NEW_HEADS, some, f", trained on {', '.join(some)}, encoder untrained"),
    ):
        rows = one_category(outputs, demo, encoder, label, trained_on)
        if rows:
            spreads.append(Spread.of(f"one annotated category, `{label}`: demo{title}", rows))
    print(write_card(folder, spreads, recognition(demo, store)))
    print(folder / "README.md")
