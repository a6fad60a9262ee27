"""Heads, scores and losses against the numbers recorded from the release."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from formula import GOLDEN, head_state, release_name, ulip2_state

from btp.errors import ConfigError
from btp.losses import LossWeights, focal_loss, joint_loss
from btp.models import fast
from btp.models.detector import Detector
from btp.models.gfcm import GFCM, patch_inputs
from btp.models.mgfem import MGFEM
from btp.models.point_encoder import PointBERT, PointBERTConfig
from btp.recipe import DetectorConfig
from btp.types import Features, Scores

RELEASE = DetectorConfig(
    object_score="top20",
    patch_similarity="product",
    patch_temperature=1.0,
    gfcm_output="fpfh",
    geo_projection="none",
    projection="mlp",
    fusion="mlp",
)
SMALL = PointBERTConfig(
    width=24, depth=4, heads=2, groups=16, group_size=8, embed_dim=12, taps=(1, 3)
)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "head.npz"))


@pytest.fixture(scope="module")
def features(golden: dict[str, np.ndarray]) -> Features:
    with torch.inference_mode():
        made = PointBERT.from_ulip2(ulip2_state())(torch.from_numpy(golden["points"]))
    return made.map(torch.clone)


@pytest.fixture
def detector(golden: dict[str, np.ndarray]) -> Detector:
    model = Detector(PointBERTConfig(), RELEASE)
    heads = {name: value for name, value in model.state_dict().items() if name != "text"}
    text = np.concatenate([golden["text_normal"], golden["text_anomalous"]])
    model.load_state_dict(head_state(heads) | {"text": torch.from_numpy(text)})
    return model


@pytest.mark.parametrize(
    ("mode", "form"),
    [("eval", "plain"), ("train", "plain"), ("eval", "for_training"), ("train", "for_training"),
     ("eval", "for_scoring")],
)  # fmt: skip
def test_scores_equal_the_recorded_ones(
    detector: Detector, features: Features, golden: dict[str, np.ndarray], mode: str, form: str
) -> None:
    getattr(detector, mode)()
    scores = detector(features) if form == "plain" else getattr(fast, form)(detector)(features)
    z = detector.mgfem(features.taps, features.cls, scores.geometry)
    assert scores.geometry is not None
    found = {
        "gfcm": scores.geometry[:, ::16],
        "mgfem": z[:, ::64, :256],
        "patch_logits": scores.patch_logits,
        "patch_probs": scores.patch_logits.sigmoid(),
        "point_logits": scores.point_logits,
        "point_probs": scores.point_scores,
        "object_score_max": scores.object_logits,
        "object_score_top20": scores.object_scores,
        "global_logits": 2 * scores.object_logits - scores.patch_logits.amax(1),
    }
    for name, value in found.items():
        expected = golden[f"{mode}_{name}"]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            value.detach(), expected, atol=1e-4 * scale, rtol=1e-4, err_msg=name
        )


@pytest.mark.parametrize("form", ["plain", "for_training"])
def test_losses_and_gradients_equal_the_recorded_ones(
    detector: Detector, features: Features, golden: dict[str, np.ndarray], form: str
) -> None:
    labels = torch.from_numpy(golden["labels"]).bool()
    fpfh = torch.from_numpy(golden["fpfh_patch_max"])
    detector.train()
    scores = detector(features) if form == "plain" else fast.for_training(detector)(features)
    terms = joint_loss(scores, labels, fpfh, LossWeights(), 0.1)
    assert terms.keys() == {"focal", "dice", "bce", "info_nce", "total"}
    for name, value in terms.items():
        assert value.item() == pytest.approx(float(golden[f"loss_{name}"]), rel=1e-4), name
    terms["total"].backward()
    for name, parameter in detector.named_parameters():
        expected = float(golden[f"gradnorm.{release_name(name)}"])
        if expected > 1e-5:
            assert parameter.grad is not None
            assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-3), name


def small_features(n: int = 64, surface: int = 0) -> Features:
    torch.manual_seed(0)
    made = PointBERT(SMALL).eval()(torch.nn.functional.normalize(torch.randn(3, n, 3), dim=-1))
    extra = torch.randn(3, n, surface) if surface else None
    return dataclasses.replace(made.map(torch.Tensor.detach), surface=extra)


def small_detector(**switches: object) -> Detector:
    torch.manual_seed(1)
    model = Detector(SMALL, DetectorConfig(**switches), surface_channels=5)  # type: ignore[arg-type]
    model.text.copy_(torch.nn.functional.normalize(torch.randn(2, 12), dim=-1))
    return model.eval()


def test_object_score_max_is_the_sigmoid_of_equation_6() -> None:
    detector, features = small_detector(object_score="max"), small_features()
    scores = detector(features)
    direction = detector.text[1] - detector.text[0]
    whole = features.object_embedding @ direction / 0.07
    expected = 0.5 * whole + 0.5 * scores.patch_logits.amax(1)
    torch.testing.assert_close(scores.object_logits, expected)
    torch.testing.assert_close(scores.object_scores, expected.sigmoid())


def test_object_score_top20_averages_a_fifth_of_the_patches() -> None:
    detector, features = small_detector(object_score="top20"), small_features()
    scores = detector(features)
    direction = detector.text[1] - detector.text[0]
    whole = (features.object_embedding @ direction / 0.07).sigmoid()
    top = scores.patch_logits.sigmoid().sort(1, descending=True).values[:, :3].mean(1)
    torch.testing.assert_close(scores.object_scores, 0.5 * whole + 0.5 * top)


def test_object_score_smooth_averages_the_nearest_patches() -> None:
    detector, features = small_detector(object_score="smooth"), small_features()
    scores = detector(features)
    direction = detector.text[1] - detector.text[0]
    whole = features.object_embedding @ direction / 0.07
    for cloud, index in enumerate(features.patch_index):
        centres = features.points[cloud, index[:, 0]]
        near = torch.cdist(centres, centres).sort(1).indices[:, :12]
        highest = scores.patch_logits[cloud][near].mean(1).max()
        logit = 0.5 * whole[cloud] + 0.5 * highest
        torch.testing.assert_close(scores.object_logits[cloud], logit)
        torch.testing.assert_close(scores.object_scores[cloud], logit.sigmoid())


def test_object_alpha_weighs_the_global_score() -> None:
    features = small_features()
    for score in ("max", "top20"):
        found = [
            small_detector(object_score=score, object_alpha=alpha)(features)
            for alpha in (0.0, 0.3, 1.0)
        ]
        low, mixed, high = (
            each.object_scores if score == "top20" else each.object_logits for each in found
        )
        torch.testing.assert_close(mixed, 0.3 * high + 0.7 * low)
        assert not torch.allclose(low, high)


def test_patches_are_compared_by_the_cosine_or_the_product() -> None:
    features = small_features()
    for similarity in ("cosine", "product"):
        detector = small_detector(patch_similarity=similarity)
        assert detector.gfcm is not None
        described = detector.gfcm(patch_inputs(features, "absolute"))
        z = detector.mgfem(features.taps, features.cls, described)
        normal, defective = detector.text
        if similarity == "cosine":  # of Eq. 1, to each text
            compare = torch.nn.functional.cosine_similarity
            expected = compare(z, defective, dim=-1) - compare(z, normal, dim=-1)
        else:
            expected = z @ defective - z @ normal
        torch.testing.assert_close(detector(features).patch_logits, expected / 0.07)


@pytest.mark.parametrize(
    ("switches", "width", "contrasted"),
    [({}, 12, "linear"), ({"gfcm_output": "fpfh", "geo_projection": "none"}, 33, "none")],
)
def test_equation_7_contrasts_the_descriptor_or_its_projection(
    switches: dict[str, object], width: int, contrasted: str
) -> None:
    detector, features = small_detector(**switches), small_features()
    assert detector.gfcm is not None
    described = detector.gfcm(patch_inputs(features, "absolute"))
    assert described.shape == (3, 16, width)
    if contrasted == "linear":
        assert detector.geo_projection is not None
        described = detector.geo_projection(described)
    torch.testing.assert_close(detector(features).geometry, described)


def test_the_fusion_is_one_linear_layer_or_two() -> None:
    linear = torch.nn.Linear
    for fusion, kinds in (("linear", [linear]), ("mlp", [linear, torch.nn.ReLU, linear])):
        assert [type(layer) for layer in small_detector(fusion=fusion).mgfem.fusion] == kinds


def test_patch_temperature_divides_the_patch_logits() -> None:
    features = small_features()
    cold = small_detector(patch_temperature=0.5)(features).patch_logits
    plain = small_detector(patch_temperature=1.0)(features).patch_logits
    torch.testing.assert_close(cold, 2 * plain)


def test_uncovered_points_get_zero_or_their_nearest_patch() -> None:
    features = small_features(n=400)
    covered = torch.zeros(3, 400, dtype=torch.bool)
    covered.scatter_(1, features.patch_index.flatten(1), True)
    assert not covered.all()
    zero = small_detector(uncovered="zero")(features)
    near = small_detector(uncovered="nearest")(features)
    assert (zero.point_scores[~covered] == 0).all()
    assert torch.equal(zero.point_scores[covered], near.point_scores[covered])
    b, point = torch.nonzero(~covered)[0]
    centres = features.points[b, features.patch_index[b, :, 0]]
    patch = (centres - features.points[b, point]).norm(dim=1).argmin()
    assert near.point_scores[b, point] == near.patch_logits[b, patch].sigmoid()


def test_gfcm_inputs() -> None:
    features = small_features(surface=5)
    absolute = patch_inputs(features, "absolute")
    assert torch.equal(absolute[1, 2, 3], features.points[1, features.patch_index[1, 2, 3]])
    centred = patch_inputs(features, "centred")
    assert (centred[:, :, 0] == 0).all()
    torch.testing.assert_close(centred.norm(dim=-1).amax(-1), torch.ones(3, 16))
    moved = dataclasses.replace(features, points=features.points * 3 + 7)
    torch.testing.assert_close(patch_inputs(moved, "centred"), centred, atol=1e-4, rtol=1e-4)
    surface = patch_inputs(features, "surface")
    assert features.surface is not None
    assert torch.equal(surface[0, 1, 2], features.surface[0, features.patch_index[0, 1, 2]])
    with pytest.raises(ConfigError, match="surface"):
        patch_inputs(small_features(), "surface")


def test_gfcm_does_not_depend_on_the_order_of_a_patch() -> None:
    torch.manual_seed(0)
    gfcm = GFCM().eval()
    patches = torch.randn(2, 5, 8, 3)
    torch.testing.assert_close(gfcm(patches), gfcm(patches.flip(2)))


def test_mgfem_fuses_what_equation_4_says() -> None:
    torch.manual_seed(0)
    mgfem = MGFEM(width=6, embed_dim=10, n_taps=3, projection="linear")
    mgfem.tap_weights.data = torch.tensor([1.0, 2.0, 0.0])
    taps, cls, geometry = torch.randn(2, 3, 4, 6), torch.randn(2, 6), torch.randn(2, 4, 33)
    alpha = torch.softmax(torch.tensor([1.0, 2.0, 0.0]), 0)
    assert mgfem.tap_projection and mgfem.geometry_projection and mgfem.cls_projection
    for b in range(2):
        for g in range(4):
            s = sum(alpha[i] * mgfem.tap_projection(taps[b, i, g]) for i in range(3))
            joined = torch.cat(
                [s, mgfem.geometry_projection(geometry[b, g]), mgfem.cls_projection(cls[b])]
            )
            torch.testing.assert_close(mgfem(taps, cls, geometry)[b, g], mgfem.fusion(joined))


@pytest.mark.parametrize("switches", [{"use_taps": False}, {"use_geometry": False}])
def test_modules_can_be_left_out(switches: dict[str, bool]) -> None:
    features = small_features()
    scores: Scores = small_detector(**switches)(features)
    assert (scores.geometry is None) == ("use_geometry" in switches)
    other = dataclasses.replace(features, taps=features.taps.flip(2))
    depends = not torch.equal(small_detector(**switches)(other).patch_logits, scores.patch_logits)
    assert depends == ("use_geometry" in switches)


def test_a_detector_without_text_says_so() -> None:
    with pytest.raises(ConfigError, match="no text embeddings"):
        Detector(SMALL, DetectorConfig())(small_features())


def test_focal_loss_by_hand() -> None:
    # one anomalous point at p = 0.5: 0.25 * 0.5^2 * ln 2; one normal at p = 0.5: 0.75 * 0.25 * ln 2
    loss = focal_loss(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx((0.25 + 0.75) * 0.25 * np.log(2) / 2)


def test_terms_of_weight_zero_are_left_out() -> None:
    features = small_features()
    scores = small_detector()(features)
    labels = torch.zeros(3, 64, dtype=torch.bool)
    fpfh = torch.rand(3, 16, 33)
    terms = joint_loss(scores, labels, fpfh, LossWeights(point=0, geometry=0), 0.1)
    assert terms.keys() == {"bce", "total"}
    assert terms["total"].item() == pytest.approx(0.5 * terms["bce"].item())
