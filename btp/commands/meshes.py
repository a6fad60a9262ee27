"""Fetch public meshes for the pretraining: `btp meshes`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import script
from btp.pretraining.corpus.collections import COLLECTIONS, fetch_collections


@script("meshes")
def main(config: DictConfig) -> None:
    fetch_collections(Path(config.out), Path(config.downloads))
    for collection in COLLECTIONS:
        package = collection.package
        print(
            f"{collection.name}: {collection.licence}; {collection.credit}. From {package.name} "
            f"{package.version}, {'trained on' if collection.training else 'validation only'}"
        )
