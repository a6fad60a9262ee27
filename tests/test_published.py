"""Files that people take for ULIP-2's: each is told what it is."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import torch
from formula import ulip2_state
from torch import Tensor

from btp.errors import WeightsError
from btp.models.point_encoder import PointBERT
from btp.weights.published import known_mistake, text_tower_state, unwrap


def xyz_only() -> dict[str, Tensor]:
    """ULIP-2's early model: 3 input channels, a projection 512 wide."""
    state = ulip2_state()
    state["point_encoder.encoder.first_conv.0.weight"] = torch.zeros(128, 3, 1)
    state["pc_projection"] = torch.zeros(768, 512)
    return state


def with_slip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = ("visual.cls_token", "image_projection", "token_embedding.weight", "text_projection")
    return state | {name: torch.zeros(2, 2) for name in names}


def ulip1_pointmlp() -> dict[str, Tensor]:
    state = {"pc_projection": torch.zeros(256, 512), "logit_scale": torch.zeros(())}
    return with_slip(state | {"point_encoder.embedding.net.0.weight": torch.zeros(64, 3, 1)})


WRONG = {
    "xyz": (xyz_only, r"ULIP-2's xyz-only model \(3 input channels and a projection 512 wide"),
    "ulip1": (lambda: with_slip(xyz_only()), "512-wide space.*ULIP-1, or ULIP-2's early xyz-only"),
    "ulip1_mlp": (ulip1_pointmlp, "a ULIP-1 model with another point encoder"),
    "clip": (
        lambda: {"visual.conv1.weight": torch.zeros(1), "token_embedding.weight": torch.zeros(1)},
        "a whole CLIP model",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_named(tmp_path: Path, kind: str) -> None:
    make, message = WRONG[kind]
    state = {f"module.{name}": tensor for name, tensor in make().items()}
    path = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 1, "state_dict": state, "args": argparse.Namespace(lr=1.0)}, path)
    with pytest.raises(WeightsError) as error:
        PointBERT.from_ulip2(path)
    text = str(error.value)
    assert text.startswith(f"{path}: holds ")
    assert re.search(message, text)
    assert "10k-xyzrgb-pc-vit_g" in text
    assert "python scripts/weights.py fetch=ulip2" in text


def test_point_bert_s_own_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Point-BERT.pth"
    base = {"module.transformer_q.cls_token": torch.zeros(1, 1, 384)}
    torch.save({"base_model": base, "optimizer": {}, "epoch": 300, "metrics": {}}, path)
    with pytest.raises(WeightsError, match=r"Point-BERT's own pretraining.*fetch=ulip2"):
        PointBERT.from_ulip2(path)


def test_the_authors_heads_are_not_an_encoder(tmp_path: Path) -> None:
    torch.save({"patch_geo_encoder": {}, "patch_feature_embedder": {}}, tmp_path / "best.pth")
    with pytest.raises(WeightsError, match=r"weights\.py convert="):
        PointBERT.from_ulip2(tmp_path / "best.pth")


def test_the_right_file_is_no_mistake() -> None:
    assert known_mistake(ulip2_state()) is None
    assert known_mistake({}) is None


def test_wrappers_are_taken_off() -> None:
    assert unwrap({"state_dict": {"module.a": 1}, "epoch": 3}) == {"a": 1}
    assert unwrap({"a": 1}) == {"a": 1}


def test_the_text_tower_is_all_but_images_and_scales() -> None:
    whole = {"visual.proj": 1, "logit_scale": 2, "ln_final.weight": 3, "stray": 4}
    assert text_tower_state(whole) == {"ln_final.weight": 3, "stray": 4}
    assert text_tower_state({"text.ln_final.weight": 3, "visual.x": 1}) == {"ln_final.weight": 3}
