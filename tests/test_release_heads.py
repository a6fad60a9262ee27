"""The authors' checkpoints become detectors that score as the release does."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from formula import GOLDEN, release_head_state, ulip2_state

from btp.errors import ConfigError, WeightsError
from btp.inspect.predictor import load
from btp.models.checkpoint import load_detector
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.models.release_heads import convert_heads
from btp.recipe import Recipe
from btp.weights.records import write_record
from btp.weights.text_store import TextStore

TRAINED = ("real3d", "car", 111)
RELEASE = Recipe().changed(
    name="release",
    prompts="fixed",
    prompt_texts=("normal .", "defective ."),
    context_tokens=0,
    object_score="top20",
    patch_similarity="product",
    patch_temperature=1.0,
    gfcm_output="fpfh",
    geo_projection="none",
    projection="mlp",
    fusion="mlp",
)


def best_pth() -> dict[str, object]:
    """In the container that the release's training writes."""
    heads = release_head_state()
    content: dict[str, object] = {
        module: {
            name.removeprefix(f"{module}."): tensor
            for name, tensor in heads.items()
            if name.startswith(f"{module}.")
        }
        for module in ("patch_feature_embedder", "patch_geo_encoder")
    }
    return content | {"prompt_learner": {"ctx": torch.zeros(8, 1280)}, "epoch": 41, "loss": 0.25}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "head.npz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, golden: dict[str, np.ndarray]) -> Path:
    """best.pth, a full-size ULIP-2, and its text embeddings, but no text tower at all."""
    folder = tmp_path_factory.mktemp("release")
    torch.save(best_pth(), folder / "best.pth")
    state = {f"module.{name}": tensor for name, tensor in ulip2_state().items()}
    container = {"state_dict": state, "epoch": 1, "args": argparse.Namespace(lr=1.0)}
    torch.save(container, folder / "ulip2.pt")
    tower = folder / "text_tower.safetensors"
    tower.write_bytes(b"gone")
    record = write_record(tower, "laion")
    tower.unlink()
    texts = {
        "normal .": torch.from_numpy(golden["text_normal"][0]),
        "defective .": torch.from_numpy(golden["text_anomalous"][0]),
    }
    TextStore.beside(tower, record.sha256).add(texts)
    return folder


def ulip2(folder: Path) -> EncoderConfig:
    return EncoderConfig(
        "ulip2", str(folder / "ulip2.pt"), str(folder / "text_tower.safetensors"), "bfloat16"
    )


def check_scores(path: Path, golden: dict[str, np.ndarray]) -> None:
    """From the published files to the recorded scores, without a text tower."""
    detector, encoder, about, *_ = load_detector(path)
    model = PointLanguageModel(encoder)
    with torch.inference_mode():
        scores = detector(model.encode(torch.from_numpy(golden["points"])))
    assert "text" not in vars(model)
    for name, found in {
        "patch_logits": scores.patch_logits,
        "point_probs": scores.point_scores,
        "object_score_max": scores.object_logits,
        "object_score_top20": scores.object_scores,
    }.items():
        expected = golden[f"eval_{name}"]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=1e-4 * scale, rtol=1e-4, err_msg=name)
    assert (about["epoch"], about["loss"]) == (41, 0.25)


def test_converted_heads_score_as_recorded(folder: Path, golden: dict[str, np.ndarray]) -> None:
    out = folder / "best.safetensors"
    convert_heads(folder / "best.pth", PointLanguageModel(ulip2(folder)), RELEASE, out, *TRAINED)
    check_scores(out, golden)
    about = load_detector(out)[2]
    assert (about["dataset"], about["train_cat"], about["seed"]) == ({"name": "real3d"}, "car", 111)
    assert (about["n_points"], about["sampling_seed"]) == (2048, 0)


def test_the_script_converts(folder: Path, golden: dict[str, np.ndarray]) -> None:
    command = [
        *(sys.executable, "scripts/weights.py"),
        *(f"convert={folder / 'best.pth'}", f"outputs={folder / 'runs'}", "device=cpu"),
        "train_cat=car",
        f"encoder.point_weights={folder / 'ulip2.pt'}",
        f"encoder.text_weights={folder / 'text_tower.safetensors'}",
    ]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    out = folder / "runs/real3d/ulip2/release/car/seed111/detector.safetensors"
    assert done.stdout.strip() == str(out)
    check_scores(out, golden)
    inspector = load(out)
    prediction = inspector.predict(golden["points"][0])
    assert prediction.point_scores.shape == (2048,)
    assert "text" not in vars(inspector.model)  # from the command line to a score without it


def test_wrong_files_are_named(tmp_path: Path, folder: Path) -> None:
    model = PointLanguageModel(ulip2(folder))
    with pytest.raises(WeightsError, match=r"ulip2\.pt: holds .*expected the release's trained"):
        convert_heads(folder / "ulip2.pt", model, RELEASE, tmp_path / "out", *TRAINED)
    heads = best_pth()
    del heads["patch_geo_encoder"]["mlp1.0.bias"]  # type: ignore[attr-defined]
    heads["patch_geo_encoder"]["stray"] = torch.zeros(1)  # type: ignore[index]
    torch.save(heads, tmp_path / "best.pth")
    with pytest.raises(
        WeightsError, match=r"missing: gfcm\.mlp1\.0\.bias; unexpected: gfcm\.stray"
    ):
        convert_heads(tmp_path / "best.pth", model, RELEASE, tmp_path / "out", *TRAINED)
    assert not (tmp_path / "out").exists()


def test_a_recipe_with_learned_prompts_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"fixed ones.*recipe=release"):
        model = PointLanguageModel(ulip2(folder))
        convert_heads(folder / "best.pth", model, Recipe(), folder / "out", *TRAINED)


def test_without_text_weights_the_way_to_get_them_is_told(folder: Path, tmp_path: Path) -> None:
    encoder = EncoderConfig("ulip2", None, str(tmp_path / "text_tower.safetensors"))
    with pytest.raises(WeightsError, match=r"text_tower.*no such file.*scripts/weights\.py"):
        model = PointLanguageModel(encoder)
        convert_heads(folder / "best.pth", model, RELEASE, tmp_path / "out", *TRAINED)
