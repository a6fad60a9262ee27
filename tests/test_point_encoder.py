"""PointBERT against the numbers recorded from ULIP-2's, at full size."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formula import GOLDEN, ulip2_state

from btp.errors import ConfigError, WeightsError
from btp.models.fast import accelerated
from btp.models.point_encoder import (
    Block,
    PointBERT,
    PointBERTConfig,
)
from btp.types import Features

SMALL = PointBERTConfig(
    width=24, depth=4, heads=2, groups=16, group_size=8, embed_dim=12, taps=(1, 3)
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "encoder.npz"))


@pytest.fixture(scope="module")
def ulip2() -> PointBERT:
    return PointBERT.from_ulip2(ulip2_state())


@pytest.fixture(scope="module")
def features(ulip2: PointBERT, golden: dict[str, np.ndarray]) -> Features:
    with torch.inference_mode():
        return ulip2(torch.from_numpy(golden["points"]))


def test_patches_equal_the_recorded_ones(features: Features, golden: dict[str, np.ndarray]) -> None:
    assert np.array_equal(features.patch_index[..., 0], golden["center_index"])
    assert np.array_equal(features.patch_index.sort(-1).values, golden["patch_index_sorted"])
    near_origin = set(range(100, 104))
    assert near_origin.isdisjoint(features.patch_index[1, :, 0].tolist())


@pytest.mark.parametrize("form", ["plain", "fast"])
def test_embeddings_equal_the_recorded_ones(
    ulip2: PointBERT, features: Features, golden: dict[str, np.ndarray], form: str
) -> None:
    if form == "fast":
        with torch.inference_mode():
            fast = accelerated(ulip2)(features.points)
        torch.testing.assert_close(fast.taps, features.taps, atol=1e-5, rtol=1e-5)
        features = fast
    np.testing.assert_allclose(features.cls, golden["cls_normalized"], atol=1e-4)
    np.testing.assert_allclose(features.object_embedding, golden["object_embedding"], atol=1e-4)


def test_taps_equal_the_recorded_ones(
    ulip2: PointBERT, features: Features, golden: dict[str, np.ndarray]
) -> None:
    with torch.inference_mode():
        grouped = ulip2.group(features.points, None, features.patch_index)
        tokens, taps = ulip2.point_encoder(*grouped)
    assert len(taps) == 4
    rows = golden["token_rows"]
    for i, (layer, tap) in enumerate(zip((2, 5, 8, 11), taps, strict=True)):
        normalized = F.normalize(tap, dim=-1)
        expected = golden[f"layer{layer}_tokens_normalized"]
        np.testing.assert_allclose(normalized[:, rows], expected, atol=1e-4)
        np.testing.assert_allclose(
            normalized.mean(1), golden[f"layer{layer}_tokens_mean"], atol=1e-4
        )
        assert torch.equal(features.taps[:, i], normalized[:, 1:])
    pooled = torch.cat([tokens[:, 0], tokens[:, 1:].amax(1)], 1)
    np.testing.assert_allclose(pooled, golden["concat_feature"], atol=1e-4)


def test_published_container_loads() -> None:
    state = {f"module.{k}": v for k, v in ulip2_state().items()}
    state["module.open_clip_model.logit_scale"] = torch.zeros(())
    content = {"epoch": 3, "state_dict": state, "args": argparse.Namespace(lr=1.0)}
    model = PointBERT.from_ulip2(content)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_weights_of_another_model_are_named() -> None:
    state = ulip2_state()
    state["point_encoder.encoder.first_conv.0.weight"] = torch.zeros(128, 3, 1)
    del state["pc_projection"]
    state["stray"] = torch.zeros(1)
    with pytest.raises(WeightsError) as error:
        PointBERT.from_ulip2(state)
    message = str(error.value)
    assert "missing: pc_projection" in message
    assert "unexpected: stray" in message
    assert "[128, 3, 1] instead of [128, 6, 1]" in message


def test_block_equals_timm() -> None:
    from btp.runtime.torchvision_shim import ensure_importable

    ensure_importable()
    from timm.models.vision_transformer import Block as TimmBlock

    ours, theirs = Block(24, 3), TimmBlock(24, 3)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 9, 24)
    torch.testing.assert_close(ours(x), theirs(x))


def test_taps_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose from 1 to 4"):
        PointBERTConfig(depth=4, taps=(2, 5))


def test_a_cloud_s_features_do_not_depend_on_its_company() -> None:
    torch.manual_seed(0)
    model = PointBERT(SMALL).eval()
    points = F.normalize(torch.randn(3, 64, 3), dim=-1)
    together, alone = model(points), model(points[1:2])
    torch.testing.assert_close(together.taps[1:2], alone.taps, atol=1e-5, rtol=1e-4)
    assert together.taps.shape == (3, 2, 16, 24)
    assert together.object_embedding.shape == (3, 12)


def test_surface_channels_are_read_or_demanded() -> None:
    config = PointBERTConfig(**{**vars(SMALL), "point_features": 5, "constant_feature": None})
    model = PointBERT(config).eval()
    points = torch.randn(1, 64, 3)
    surface = torch.randn(1, 64, 5)
    assert not torch.equal(model(points, surface).taps, model(points, surface + 1).taps)
    with pytest.raises(ConfigError, match="5 surface channels"):
        model(points)
