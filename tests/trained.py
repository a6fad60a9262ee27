"""A detector that has learned to find dents in ellipsoids, in a second, for tests that use one."""

from __future__ import annotations

from pathlib import Path

from tiny import POINTS, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.features.store import DiskStore, Wanted
from btp.recipe import Recipe
from btp.training.loop import train

SURFACE = Recipe().changed(
    name="tiny",
    object_score="smooth",
    gfcm_input="surface",
    uncovered="nearest",
    patch_temperature=1.0,
    patch_similarity="product",
    gfcm_output="fpfh",
    geo_projection="none",
    fusion="mlp",
    epochs=30,
)


def train_tiny(root: Path) -> Path:
    """Train on the egg of the tiny set; the path of the detector."""
    model = tiny_model()
    store = DiskStore(root / "store", model, POINTS)
    folder = Folder(write_tiny_dataset(root / "data", normal=4, defective=6))
    data = store.load(folder, "egg", "test", Wanted(surface=True, fpfh_cloud="sampled"))
    about = {"n_points": POINTS, "encoder_fingerprint": model.fingerprint}
    train(data, model, SURFACE, 1, root / "run", about, quiet=True)
    return root / "run" / "detector.safetensors"
