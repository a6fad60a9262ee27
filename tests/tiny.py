"""A dataset and a model so small that every step of the program runs in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from omegaconf import OmegaConf

from btp.data.folder import Folder
from btp.data.formats import write_labelled_txt, write_pcd
from btp.features.store import DiskStore, FeatureSet, Wanted
from btp.models.point_encoder import PointBERTConfig
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.models.text_encoder import TextConfig
from btp.recipe import Recipe

POINTS = 128
ENCODER = EncoderConfig(
    name="tiny",
    point=PointBERTConfig(
        width=24,
        depth=3,
        heads=2,
        groups=24,
        group_size=8,
        pointnet=(8, 16, 32),
        patch_width=16,
        embed_dim=16,
        taps=(1, 3),
    ),
    text=TextConfig(width=16, heads=2, layers=2, embed_dim=16),
)
RECIPE = Recipe().changed(name="tiny", epochs=3)
CATEGORIES = ("box", "disc", "egg")

random_clouds = st.integers(0, 2**32 - 1).map(
    lambda seed: torch.from_numpy(
        np.random.default_rng(seed).normal(size=(2, 40, 3)).astype(np.float32)
    )
)
"""Of two clouds, float32 [2, 40, 3]."""


def recipe_file(name: str, epochs: int = 3) -> Recipe:
    """A recipe of configs/recipe/, for so many epochs."""
    folder = Path(__file__).parents[1] / "configs" / "recipe"
    files = [OmegaConf.load(folder / f"{each}.yaml") for each in ("paper", name)]
    merged = OmegaConf.to_container(OmegaConf.merge(*files, {"epochs": epochs}))
    assert isinstance(merged, dict)
    return Recipe.from_flat({str(k): v for k, v in merged.items() if k != "defaults"}, name)


def tiny_model() -> PointLanguageModel:
    return PointLanguageModel(ENCODER)


def tiny_features(root: Path) -> FeatureSet:
    """Of the annotated scans of the tiny set's egg, written below a folder."""
    store = DiskStore(root / "store", tiny_model(), POINTS)
    folder = Folder(write_tiny_dataset(root / "data"))
    return store.load(folder, "egg", "test", Wanted(surface=True, fpfh_cloud="dense"))


def write_tiny_dataset(root: Path, normal: int = 2, defective: int = 3) -> Path:
    """Ellipsoids with a dent, one shape a category, in the folder layout."""
    rng = np.random.default_rng(5)
    for category, stretch in zip(CATEGORIES, ([1, 2, 3], [3, 3, 1], [1, 1, 1.5]), strict=True):
        for split, kind, count in (
            ("train", "template", 1),
            ("test", "positive", normal),
            ("test", "sink", defective),
        ):
            for i in range(count):
                points = rng.normal(size=(400, 3))
                points *= np.array(stretch) / np.linalg.norm(points, axis=1, keepdims=True)
                labels = np.zeros(len(points), bool)
                if kind == "sink":
                    labels[np.argsort(((points - points[0]) ** 2).sum(1))[:25]] = True
                    points[labels] *= 0.7
                name = f"{category}_{kind}{i}"
                write_pcd(root / category / split / f"{name}.pcd", points)
                if kind == "sink":
                    write_labelled_txt(root / category / "GT" / f"{name}.txt", points, labels)
    return root
