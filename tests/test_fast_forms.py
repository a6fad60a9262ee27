"""The cheap forms that the detector computes with, against the plain ones that define it."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.models.detector import Detector
from btp.models.fast import PackedPrompts, accelerated, for_scoring, for_training
from btp.models.fast.gfcm import pooled
from btp.models.fast.mgfem import fold
from btp.models.gfcm import GFCM, patch_inputs
from btp.models.mgfem import MGFEM
from btp.models.point_encoder import MiniPointNet, PointBERT, PointBERTConfig, patchify
from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import TextConfig, TextEncoder
from btp.recipe import DetectorConfig
from btp.types import Features

SMALL = PointBERTConfig(
    width=24, depth=4, heads=2, groups=16, group_size=8, embed_dim=20, taps=(1, 3)
)
KINDS = ("absolute", "centred", "surface")


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Rounding aside, the forms are equal: so in double they agree to 1e-9."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small_features(n: int = 90) -> Features:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, n, 3, generator=generator)
    points = points / points.norm(dim=-1, keepdim=True)
    points[:, 1] = points[:, 0]  # a repeated point, as small scans have them
    return Features(
        points=points,
        patch_index=patchify(points, SMALL),
        taps=torch.randn(3, 2, 16, 24, generator=generator),
        cls=torch.randn(3, 24, generator=generator),
        object_embedding=torch.randn(3, 20, generator=generator),
        surface=torch.randn(3, n, 5, generator=generator),
    )


def small_gfcm(channels: int, out: int = 33) -> GFCM:
    """With norm weights of either sign, and statistics of their own."""
    gfcm = GFCM(channels, out)
    for layers in (gfcm.mlp1, gfcm.mlp2, gfcm.mlp3):
        norm = layers[1]
        assert isinstance(norm, nn.BatchNorm1d)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
        nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    return gfcm


def assert_near(found: Tensor, expected: Tensor, name: str, least: float = 0.0) -> None:
    scale = max(float(expected.detach().abs().max()), least)
    assert float((found - expected).detach().abs().max()) <= 1e-9 * scale, name


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", KINDS)
def test_gfcm_of_features_equals_that_of_patches(kind: str, mode: str) -> None:
    torch.manual_seed(1)
    features = small_features()
    plain = getattr(small_gfcm(5 if kind == "surface" else 3), mode)()
    fast = copy.deepcopy(plain)
    expected = plain(patch_inputs(features, kind))
    found = fast.fc(pooled(fast, features, kind))
    assert_near(found, expected, "descriptors")
    upstream = torch.randn_like(expected)
    expected.backward(upstream)
    found.backward(upstream)
    shift = {f"mlp{i}.0.bias" for i in (1, 2, 3)}  # a batch's norm takes it off again
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None, name
        least = 1.0 if mode == "train" and name in shift else 0.0
        assert_near(a.grad, b.grad, name, least)
    for (name, a), b in zip(fast.named_buffers(), plain.buffers(), strict=True):
        assert_near(a.float(), b.float(), name)  # what the norms remember of the batch


BRANCHES = ((True, True), (True, False), (False, True))
LAYERS = ("linear", "mlp")


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize(
    ("projection", "fusion", "branches"), list(itertools.product(LAYERS, LAYERS, BRANCHES))
)
def test_mgfem_logits_equal_its_embeddings_along_the_direction(
    projection: str, fusion: str, branches: tuple[bool, bool], cosine: bool
) -> None:
    torch.manual_seed(2)
    use_taps, use_geometry = branches
    plain = MGFEM(24, 20, 2, 33, projection, fusion, use_taps, use_geometry)
    if use_taps:
        nn.init.normal_(plain.tap_weights)
    fast = copy.deepcopy(plain)
    features = small_features()
    results = []
    for module in (plain, fast):
        torch.manual_seed(3)
        geometry = torch.randn(3, 16, 33, requires_grad=True) if use_geometry else None
        direction = torch.randn(20, requires_grad=True)
        given = features.taps, features.cls, geometry
        if module is plain:
            z = module(*given)
            logits = (nn.functional.normalize(z, dim=-1) if cosine else z) @ direction
        else:
            logits = fold(fast, direction, cosine)(*given)
        (logits * torch.randn(3, 16)).sum().backward()
        inputs = [x.grad for x in (geometry, direction) if x is not None]
        results.append([logits, *inputs, *(p.grad for p in module.parameters())])
    for expected, found in zip(*results, strict=True):
        assert expected is not None and found is not None
        assert_near(found, expected, f"{tuple(expected.shape)}")


def small_detector(**switches: object) -> Detector:
    torch.manual_seed(4)
    model = Detector(SMALL, DetectorConfig(**switches), surface_channels=5)  # type: ignore[arg-type]
    if model.gfcm is not None:
        model.gfcm = small_gfcm(model.gfcm.mlp1[0].in_features, model.gfcm.fc[2].out_features)
        nn.init.zeros_(model.gfcm.mlp3[1].weight[3:5])  # a channel may die
    model.text.copy_(nn.functional.normalize(torch.randn(2, 20), dim=-1))
    return model.eval()


RELEASE = {
    "patch_similarity": "product",
    "gfcm_output": "fpfh",
    "geo_projection": "none",
    "fusion": "mlp",
}
SWITCHES = [
    {},
    RELEASE,
    RELEASE | {"gfcm_input": "surface", "projection": "mlp", "object_score": "top20"},
    RELEASE | {"gfcm_input": "centred", "uncovered": "nearest", "object_score": "smooth"},
    {"projection": "mlp", "object_alpha": 0.3},
    {"fusion": "mlp", "gfcm_output": "fpfh", "gfcm_input": "surface"},
    {"patch_similarity": "product"},
    {"use_geometry": False, "projection": "mlp"},
    {"use_taps": False},
]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("switches", SWITCHES)
def test_a_detector_is_trained_by_the_same_scores_and_gradients(
    switches: dict[str, object], mode: str
) -> None:
    plain, features = getattr(small_detector(**switches), mode)(), small_features()
    if (
        plain.gfcm is not None
    ):  # of a dead channel every point has the maximum, and any its gradient
        nn.init.normal_(plain.gfcm.mlp3[1].weight)
    quick = copy.deepcopy(plain)
    results = []
    for detector, scorer in ((plain, plain), (quick, for_training(quick))):
        text = nn.functional.normalize(detector.text + 0.1, dim=-1).requires_grad_()
        scores = scorer(features, text)
        given = {name: value for name, value in vars(scores).items() if value is not None}
        torch.stack(
            [(value * weights_of(value)).sum() for value in given.values()]
        ).sum().backward()
        results.append([*given.values(), text.grad, *(p.grad for p in detector.parameters())])
    names = [*given, "text", *(name for name, _ in plain.named_parameters())]
    for name, expected, found in zip(names, *results, strict=True):
        # a shift before a batch's norm is taken off again: its gradient is rounding
        shift = mode == "train" and name.startswith("gfcm.mlp") and name.endswith("0.bias")
        assert_near(found, expected, name, 1e3 if shift else 0.0)


def weights_of(value: Tensor) -> Tensor:
    """Numbers of either sign, the same for every value of a shape."""
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("switches", SWITCHES)
def test_a_folded_detector_gives_the_same_scores(switches: dict[str, object]) -> None:
    detector, features = small_detector(**switches), small_features()
    expected, found = detector(features), for_scoring(detector)(features)
    for name, value in vars(expected).items():
        if value is None:
            assert getattr(found, name) is None
        else:
            assert_near(getattr(found, name), value, name)
            assert not getattr(found, name).requires_grad


def test_folding_changes_nothing_in_the_detector_and_keeps_apart_from_it() -> None:
    detector, features = small_detector(), small_features()
    before = copy.deepcopy(detector.state_dict())
    folded = for_scoring(detector)
    expected = folded(features).patch_logits
    assert all(torch.equal(before[k], v) for k, v in detector.state_dict().items())
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(1)
    assert torch.equal(folded(features).patch_logits, expected)


@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize(
    "texts",
    [
        ("normal object.", "defective object."),
        ("a long defective piece", "a piece"),
        ("a piece", "a piece with a defect"),
        ("a piece", "a piece"),
    ],
)
def test_packed_prompts_give_the_same_texts_and_gradients(
    texts: tuple[str, str], context: int
) -> None:
    torch.set_default_dtype(torch.float32)  # the tower's norms have no other
    torch.manual_seed(6)
    tower = TextEncoder(TextConfig(width=16, heads=2, layers=3, embed_dim=20))
    prompts = HybridPromptLearner(tower, texts, context)
    nn.init.normal_(prompts.context)
    results = []
    for form in (prompts, PackedPrompts(prompts)):
        found = form(tower)
        (gradient,) = torch.autograd.grad(found, prompts.context, weights_of(found))
        results.append((found, gradient))
    for expected, packed in zip(*results, strict=True):
        torch.testing.assert_close(packed, expected, rtol=1e-4, atol=1e-5)


def test_packed_prompts_hold_what_both_share_once() -> None:
    tower = TextEncoder(TextConfig(width=16, heads=2, layers=1, embed_dim=20))
    prompts = HybridPromptLearner(tower, ("a normal piece", "a bad piece"), 4)
    # start, context, "a"; "normal piece" and "bad piece", each with its end
    assert PackedPrompts(prompts).positions.tolist() == [*range(6), 6, 7, 8, 6, 7, 8]


def test_packed_prompts_that_are_too_long_are_refused_alike() -> None:
    tower = TextEncoder(TextConfig(width=16, heads=2, layers=1, embed_dim=20, context_length=8))
    prompts = HybridPromptLearner(tower, ("normal object.", "defective object."), 6)
    with pytest.raises(ConfigError, match=r"prompts are .* tokens long"):
        PackedPrompts(prompts)(tower)


def small_encoder() -> PointBERT:
    torch.manual_seed(5)
    encoder = PointBERT(SMALL)
    for norm in (encoder.point_encoder.encoder.first_conv[1], encoder.point_encoder.norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return encoder


def outputs(encoder: PointBERT) -> list[Tensor]:
    features = encoder(small_features().points)
    return [features.taps, features.cls, features.object_embedding]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_an_accelerated_encoder_gives_the_same_features_and_gradients(mode: str) -> None:
    plain = getattr(small_encoder(), mode)()
    shared = copy.deepcopy(plain)
    quick = accelerated(shared)
    results = []
    for encoder, weights in ((plain, plain), (quick, shared)):
        found = outputs(encoder)
        torch.stack([(value * weights_of(value)).sum() for value in found]).sum().backward()
        results.append([*found, *(p.grad for p in weights.parameters() if p.grad is not None)])
    for expected, found in zip(*results, strict=True):
        assert_near(found, expected, f"{tuple(expected.shape)}", 1.0)
    for (name, a), b in zip(shared.named_buffers(), plain.buffers(), strict=True):
        assert_near(a.float(), b.float(), name)


def test_an_accelerated_encoder_follows_the_weights_and_the_mode() -> None:
    plain = small_encoder()
    quick = accelerated(plain)
    assert type(plain.point_encoder.encoder) is MiniPointNet
    assert quick.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(1.1)
    for mode in (plain.train, plain.eval):
        mode()
        for found, expected in zip(outputs(quick), outputs(plain), strict=True):
            assert_near(found, expected, "after a change")


def test_a_rounded_encoder_is_near_and_has_weights_of_its_own() -> None:
    torch.set_default_dtype(torch.float32)
    plain = small_encoder().eval().requires_grad_(False)
    rounded = accelerated(plain, rounded=True)
    points = small_features().points
    exact, near = plain(points), rounded(points)
    assert 0 < float((exact.taps - near.taps).abs().max()) < 0.05
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    attentions = [next(b.attn.parameters()).dtype for b in rounded.point_encoder.blocks.blocks]
    assert attentions == [torch.float32] * 2 + [torch.bfloat16] * 2


def test_uncovered_points_are_filled_alike_one_by_one_and_all_together() -> None:
    from btp.geometry.patches import nearest_patch, patch_of_uncovered

    features = dataclasses.replace(small_features(200))
    patch = patch_of_uncovered(features.points, features.patch_index)
    near = nearest_patch(features.points, features.patch_index)
    for cloud in range(3):
        covered = set(features.patch_index[cloud].flatten().tolist())
        assert 0 < len(covered) < 200
        for row in range(200):
            assert patch[cloud, row] == (-1 if row in covered else near[cloud, row])
