"""The project in small, in a folder of its own: its scripts, its configs with small numbers, data.

Commands run there as they are written, with the same names and paths, and take a second or two.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from omegaconf import OmegaConf
from published import published_point
from safetensors.torch import save_file
from tiny import ENCODER, recipe_file

from btp.data.formats import write_labelled_txt, write_pcd
from btp.data.synthesis import demo
from btp.geometry.local_geometry import CHANNELS
from btp.models.checkpoint import Trained, new_detector, save_detector
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.models.release_heads import HEAD_NAMES
from btp.pretraining.model_card import heads_folders
from btp.types import N_POINTS

POINT = ENCODER.point
SIZES = {"point": asdict(POINT), "text": asdict(ENCODER.text)}
SURFACE_POINT = replace(POINT, point_features=CHANNELS, constant_feature=None)
SMALL: dict[str, dict[str, Any]] = {
    "encoder/mini.yaml": SIZES | {"point": asdict(SURFACE_POINT)},
    "encoder/ulip2.yaml": SIZES,
    "eval.yaml": {"pictures": 0},
    "dataset/demo.yaml": {"epochs": 1},
    "dataset/folder.yaml": {"epochs": 1},
    "dataset/real3d.yaml": {"epochs": 1, "allow_missing": True},
    "dataset/anomaly_shapenet.yaml": {"epochs": 1, "allow_missing": True},
    "synthesize.yaml": {"train": 1, "normal": 1, "defective": 2, "workers": 1},
    "calibrate.yaml": {"workers": 1},
    "predict.yaml": {"workers": 1},
    "pretrain.yaml": {
        "clouds": 4,
        "validation": {"clouds": 4},
        "workers": 1,
        "training": {"steps": 2, "batch_size": 2, "groups": 12, "warmup": 1, "validate_every": 1},
        "heads": {"clouds": 2, "seeds": [0, 1]},
        "recipe": {"epochs": 1},
    },
    "benchmark.yaml": {
        # all but "start", whose own processes import for seconds; tests/test_benchmark.py runs it
        "only": ["train", "score", "metrics", "prepare", "throughput", "latency", "growth"],
        "sizes": {
            "repeats": 1,
            "slow_repeats": 1,
            "n_points": 64,
            "run_clouds": 4,
            "run_epochs": 2,
            "plain_steps": 1,
            "our_steps": 1,
            "score_clouds": 2,
            "raw_points": 300,
            "metric_clouds": 3,
            "metric_points": 1000,
            "sample_points": 2000,
            "sample_steps": 8,
            "large_points": 3000,
            "growth_points": [64],
            "growth_batches": [1],
            "growth_stores": [2],
        },
    },
}


def make_small_project(repository: Path, root: Path) -> None:
    """Write it.

    Args:
        repository: the project.
        root: an empty folder.
    """
    shutil.copytree(
        repository / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(repository / "configs", root / "configs")
    for name, numbers in SMALL.items():
        path = root / "configs" / name
        _refuse_unknown(OmegaConf.to_container(OmegaConf.load(path)), numbers, name)
        OmegaConf.save(OmegaConf.merge(OmegaConf.load(path), numbers), path)
    write_mini(repository, root / "checkpoints" / "mini")
    write_demo(root / "data" / "demo")
    write_real3d(root / "data" / "Real3D-AD", ("airplane", "gemstone"))
    write_users_files(root)


def _refuse_unknown(settings: Any, numbers: dict[str, Any], where: str) -> None:
    """A number that no config has would be a new setting, and not make anything smaller."""
    for key, value in numbers.items():
        assert key in settings or where.startswith("encoder/"), f"{where}: no {key}"
        if isinstance(value, dict) and isinstance(settings.get(key), dict):
            _refuse_unknown(settings[key], value, f"{where}: {key}")


def write_mini(repository: Path, folder: Path) -> None:
    """The embedded model's files: of the right kinds, untrained."""
    folder.mkdir(parents=True)
    for name in ("pretraining.json", "README.md"):
        shutil.copy(repository / "checkpoints" / "mini" / name, folder)
    sizes = EncoderConfig("mini", point=SURFACE_POINT, text=ENCODER.text)
    untrained = PointLanguageModel(sizes)
    save_file(untrained.points.state_dict(), folder / "points.safetensors")
    save_file(untrained.text.tower.state_dict(), folder / "text.safetensors")
    encoder = replace(
        sizes,
        point_weights="checkpoints/mini/points.safetensors",
        text_weights="checkpoints/mini/text.safetensors",
    )
    about = {"n_points": N_POINTS, "encoder_fingerprint": untrained.fingerprint}
    recipe = recipe_file("plus")
    detector = new_detector(sizes, recipe.detector)
    detector.text.copy_(untrained.encode_text(recipe.prompt.prompt_texts))
    for place in heads_folders(folder):
        trained = Trained(detector, encoder, about, recipe, None)
        save_detector(place / "detector.safetensors", trained)


def write_demo(root: Path) -> None:
    """Two categories of the demo set's names, with its generator's stamp."""
    for category in ("gear", "vase"):
        folder = root / category
        for split, kind, count in (("train", "template", 1), ("test", "positive", 2)):
            for i in range(count):
                write_pcd(folder / split / f"{category}_{kind}{i}.pcd", _scan(i)[0])
        _write_defective(folder, "GT", [f"{category}_sink{i}" for i in range(2)])
    (root / "VERSION").write_text(f"{demo.VERSION}\n")


def write_real3d(root: Path, categories: Iterable[str]) -> None:
    """A few of the published files of each category of Real3D-AD, in its layout."""
    _write_published("real3d", root, "gt", categories)


def write_anomaly_shapenet(root: Path, categories: Iterable[str]) -> None:
    """A few of the published files of each category of Anomaly-ShapeNet, in its layout."""
    _write_published("anomaly_shapenet", root / "dataset" / "pcd", "GT", categories)


def _write_published(name: str, root: Path, labels: str, categories: Iterable[str]) -> None:
    inventory = resources.files("btp.data") / "inventories" / f"{name}.csv"
    rows = list(csv.DictReader(inventory.read_text("utf-8").splitlines()))
    for category in categories:
        own = [row for row in rows if row["category"] == category]
        for split, defective in (("train", "0"), ("test", "0"), ("test", "1")):
            kind = (split, defective)
            files = [row for row in own if (row["split"], row["is_anomalous"]) == kind][:2]
            for i, row in enumerate(files):
                points, dented = _scan(i, dent=defective == "1")
                write_pcd(root / category / split / row["file"], points)
                if defective == "1":
                    path = root / category / labels / row["gt_file"]
                    write_labelled_txt(path, points, dented)


def write_users_files(root: Path) -> None:
    """What the README's commands read and a user has: scans, meshes, the authors' files."""
    trimesh.PointCloud(_scan(0, 2500)[0]).export(root / "scan.ply")
    for folder in ("scans", "good_scans"):
        for i in range(3):
            write_pcd(root / folder / f"{i}.pcd", _scan(i, 2500)[0])
    (root / "my_meshes").mkdir()
    trimesh.creation.cylinder(1.0, 4.0).export(root / "my_meshes" / "bolt.stl")
    trimesh.creation.box((1.0, 2.0, 3.0)).export(root / "my_meshes" / "block.stl")
    (root / "FILE").write_bytes(published_point())
    torch.save(best_pth(), root / "best.pth")


def best_pth() -> dict[str, Any]:
    """Heads under the names of the authors' training, for the small encoder."""
    state = new_detector(
        EncoderConfig("ulip2", point=POINT, text=ENCODER.text), recipe_file("release").detector
    )
    content: dict[str, Any] = {"patch_geo_encoder": {}, "patch_feature_embedder": {}}
    for name, tensor in state.state_dict().items():
        for theirs, ours in HEAD_NAMES.items():
            if name.startswith(ours):
                module, _, rest = theirs.partition(".")
                content[module][rest + name.removeprefix(ours)] = tensor
    return content | {"epoch": 3, "loss": 0.5}


def _write_defective(folder: Path, labels: str, names: Iterable[str]) -> None:
    for i, name in enumerate(names):
        points, dented = _scan(i, dent=True)
        write_pcd(folder / "test" / f"{name}.pcd", points)
        write_labelled_txt(folder / labels / f"{name}.txt", points, dented)


def _scan(seed: int, count: int = 400, dent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Points [count, 3] of an ellipsoid, and which of them are dented."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    points *= np.array([1.0, 2.0, 3.0]) / np.linalg.norm(points, axis=1, keepdims=True)
    dented = np.zeros(count, bool)
    if dent:
        dented[np.argsort(((points - points[0]) ** 2).sum(1))[:25]] = True
        points[dented] *= 0.7
    return points, dented
