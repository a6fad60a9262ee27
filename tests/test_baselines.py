"""The baselines: memories against naive twins, ULIP's two forms, and what each refuses."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from open3d_fpfh import needs_open3d
from scipy.spatial.transform import Rotation
from sklearn.metrics import roc_auc_score
from tiny import CATEGORIES, POINTS, tiny_model, write_tiny_dataset

from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.formats import write_pcd
from btp.data.prepare import normalise
from btp.errors import ConfigError, DataError
from btp.evaluation import memory
from btp.evaluation.scoring import METRICS
from btp.experiments import score_baseline as scoring
from btp.experiments.baselines import BASELINES, BaselinePlan, plan_baselines
from btp.experiments.memory_options import USUAL, MemoryOptions, check_radii
from btp.experiments.protocol import Plan
from btp.experiments.score_baseline import baseline_scores, current_record, score_baseline
from btp.experiments.workspace import Workspace
from btp.features.store import DiskStore, FeatureSet, FeatureStore, Wanted
from btp.geometry.fpfh import (
    FEATURE_LIMIT,
    FEATURE_SPACINGS,
    NORMAL_LIMIT,
    NORMAL_SPACINGS,
    fpfh,
    spacing,
)
from btp.geometry.neighbours import nearest_descriptors
from btp.geometry.patches import patches_to_points
from btp.geometry.registration import Registration
from btp.models.ulip import ZERO_SHOT_TEXTS
from btp.recipe import Recipe
from btp.training.linear import train_linear

PAPER = Recipe()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(write_tiny_dataset(tmp_path_factory.mktemp("data"), normal=4, defective=4))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DiskStore:
    return DiskStore(tmp_path_factory.mktemp("store"), tiny_model(), POINTS)


@pytest.fixture(scope="module")
def workspace(
    dataset: Folder, store: FeatureStore, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    return Workspace(dataset, store.model, store.root, tmp_path_factory.mktemp("outputs"))


def plan_of(name: str, train_cat: str = "", seed: int = 1, recipe: Recipe = PAPER) -> BaselinePlan:
    return BaselinePlan(name, Plan("set", train_cat, seed, recipe, POINTS))


@pytest.fixture(scope="module")
def data(dataset: Folder, store: FeatureStore) -> FeatureSet:
    return store.load(dataset, "egg", "test", Wanted(point_fpfh=True))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_coreset(features: torch.Tensor, count: int, first: int) -> list[int]:
    """All pairs, and in each step the row whose nearest chosen one is farthest."""
    distances = torch.cdist(features.double(), features.double())
    chosen = [first]
    while len(chosen) < count:
        chosen.append(int(distances[:, chosen].min(1).values.argmax()))
    return chosen


def test_the_coreset_is_greedy_k_centre() -> None:
    features = random(80, 6)
    chosen = memory.greedy_coreset(features, 30, seed=4).tolist()
    assert chosen == naive_coreset(features, 30, chosen[0])
    assert len(set(chosen)) == 30
    assert {int(memory.greedy_coreset(features, 1, seed)) for seed in range(5)} != {chosen[0]}


def test_wide_descriptors_are_projected_from_the_seed() -> None:
    # 20 tight clusters far apart in 400 dimensions: any fair projection keeps them apart
    features = random(20, 400).repeat_interleave(10, 0) * 10 + random(200, 400, seed=1) * 1e-3
    once, again, other = (memory.greedy_coreset(features, 20, seed).tolist() for seed in (1, 1, 2))
    assert once == again != other
    assert sorted(row // 10 for row in once) == list(range(20))


def test_reweighting_by_hand() -> None:
    bank = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [50.0, 0.0]])
    described = torch.tensor([[[0.0, 0.1], [3.0, 0.0]]])
    distances, rows = nearest_descriptors(described[0], bank, 1)
    found = memory.reweighted(described, distances.T, rows.T, bank)
    # the second descriptor is farthest, at 3 from row 0, whose neighbours are rows 0, 1 and 2
    near = np.exp(np.array([3.0, math.hypot(3, 1), math.hypot(3, 2)]) / math.sqrt(2))
    assert found.tolist() == pytest.approx([3 * (1 - near[0] / near.sum())])
    # as BTF's code has it: the first neighbour, which is row 0 itself, is not in the sum
    found = memory.reweighted(described, distances.T, rows.T, bank, skipped=1)
    assert found.tolist() == pytest.approx([3 * (1 - near[0] / near[1:].sum())])


def test_one_remembered_descriptor_is_not_reweighted() -> None:
    described, bank = torch.tensor([[[3.0], [1.0]]]), torch.zeros(1, 1)
    distances, rows = nearest_descriptors(described[0], bank, 1)
    assert memory.reweighted(described, distances.T, rows.T, bank).tolist() == [3.0]


def test_point_fpfh_is_that_of_the_dense_scan(dataset: Folder, data: FeatureSet) -> None:
    unit = normalise(dataset.read(data.samples[1]).points)[0]
    rows = ((data.features.points[1].numpy()[:, None] - unit) ** 2).sum(-1).argmin(1)
    step = spacing(unit)
    normal, feature = (
        (NORMAL_SPACINGS * step, NORMAL_LIMIT),
        (FEATURE_SPACINGS * step, FEATURE_LIMIT),
    )
    assert data.features.point_fpfh is not None
    expected = fpfh(unit, *normal, *feature, rows=rows)
    np.testing.assert_allclose(data.features.point_fpfh[1].float(), expected, rtol=1e-3, atol=1e-3)


def test_a_memory_of_points_finds_what_it_has_not_seen(data: FeatureSet) -> None:
    normal = data.rows([0, 1, 2, 3])
    bank = memory.remember(normal, memory.point_fpfh, of_points=True)
    assert bank.memory.shape == (4 * POINTS, 33)
    features, labels = data.batch(slice(None))
    scores = bank(features)
    assert scores.point_scores[:4].max() < 1e-3  # these very points are in it
    assert roc_auc_score(labels[4:].ravel(), scores.point_scores[4:].ravel()) > 0.95
    assert scores.object_scores[4:].min() > scores.object_scores[:4].max()


def test_the_plain_maximum_and_a_limit_of_descriptors(data: FeatureSet) -> None:
    features, _ = data.batch(slice(None))
    given = data.rows([0, 1]), memory.point_fpfh, True
    bank = memory.remember(*given, most=50, object_score="maximum", seed=3)
    assert bank.memory.shape == (50, 33)
    scores = bank(features)
    assert torch.equal(scores.object_scores, scores.point_scores.amax(1))
    assert memory.remember(*given, most=10_000).memory.shape == (2 * POINTS, 33)
    assert memory.POINTS_KEPT == 10_000


def test_a_memory_of_patches_spreads_to_points(data: FeatureSet) -> None:
    features, _ = data.batch(slice(None))
    bank = memory.remember(data.rows([0, 1]), memory.patch_taps, of_points=False, share=0.5, seed=3)
    assert bank.memory.shape == (24, 48)  # half of 2 x 24 patches; 2 taps of 24 channels
    described = memory.patch_taps(features)
    assert torch.equal(described[3, 5, 24:], features.taps[3, 1, 5])
    values = torch.cdist(described.double(), bank.memory.double()).amin(2).float()
    scores = bank(features).point_scores
    spread = patches_to_points(values, features.patch_index, POINTS, "nan")
    covered = ~spread.isnan()
    torch.testing.assert_close(scores[covered], spread[covered], atol=1e-5, rtol=0)
    centres = features.points.gather(1, features.patch_index[..., :1].expand(-1, -1, 3))
    nearest = torch.cdist(features.points.double(), centres.double()).argmin(2)
    filled = values.gather(1, nearest)
    torch.testing.assert_close(scores[~covered], filled[~covered], atol=1e-5, rtol=0)


def test_patch_fpfh_is_the_mean_of_its_points(data: FeatureSet) -> None:
    features, _ = data.batch(slice(0, 2))
    assert features.point_fpfh is not None
    index = features.patch_index[1, 7]
    expected = features.point_fpfh[1, index].mean(0) / 200
    torch.testing.assert_close(memory.patch_fpfh(features)[1, 7], expected)
    assert expected.sum() == pytest.approx(3, rel=1e-2)


def test_features_without_fpfh_are_refused(data: FeatureSet) -> None:
    features = dataclasses.replace(data.features, point_fpfh=None)
    with pytest.raises(ConfigError, match="point_fpfh=True"):
        memory.patch_fpfh(features)


def test_zero_shot_is_eq_1_and_has_no_point_metrics(workspace: Workspace, data: FeatureSet) -> None:
    scores = {s.data.category: s for s in baseline_scores(plan_of("ulip_zero_shot"), workspace)}
    assert list(scores) == list(CATEGORIES)
    normal, defective = workspace.model.encode_text(ZERO_SHOT_TEXTS)
    embeddings = data.features.object_embedding
    pair = torch.stack([embeddings @ normal, embeddings @ defective], 1) / 0.07
    np.testing.assert_allclose(scores["egg"].object_scores, pair.softmax(1)[:, 1], rtol=1e-5)
    measured = scores["egg"].measure()
    assert tuple(measured) == METRICS
    unknown = {name for name, value in measured.items() if math.isnan(value)}
    assert unknown == {name for name in METRICS if not name.startswith("object_")}


def marked_in_last_tap(data: FeatureSet) -> FeatureSet:
    """The set with the share of defective points of each patch in the last tap's first channel."""
    share = data.labels.float().gather(1, data.features.patch_index.flatten(1))
    taps = data.features.taps.clone()
    taps[:, -1, :, 0] = share.view(data.features.patch_index.shape).mean(2).to(taps)
    return dataclasses.replace(data, features=dataclasses.replace(data.features, taps=taps))


def test_the_linear_layer_learns_and_repeats(data: FeatureSet, store: DiskStore) -> None:
    data = marked_in_last_tap(data)
    recipe = Recipe().changed(epochs=12, uncovered="nearest", learning_rate=1e-2)
    first, second = (train_linear(data, store.model, recipe, seed=5) for _ in range(2))
    state = first.state_dict()
    assert set(state) == {"text"} | {
        f"{layer}.{kind}" for layer in ("linear", "norm") for kind in ("weight", "bias")
    }
    assert all(torch.equal(state[k], v) for k, v in second.state_dict().items())
    still = recipe.changed(epochs=1, learning_rate=1e-6)
    other = train_linear(data, store.model, still, seed=5)
    assert not torch.equal(state["linear.weight"], other.state_dict()["linear.weight"])
    features, labels = data.batch(slice(None))
    with torch.no_grad():
        scores, untrained = first(features), other(features)
    z = features.taps[:, -1] @ state["linear.weight"].T + state["linear.bias"]
    z = torch.nn.functional.layer_norm(z, (16,), state["norm.weight"], state["norm.bias"])
    z = torch.nn.functional.normalize(z, dim=-1)
    direction = (state["text"][1] - state["text"][0]) / 0.07
    torch.testing.assert_close(scores.patch_logits, z @ direction, atol=1e-5, rtol=1e-5)
    learned, before = (
        roc_auc_score(labels.ravel(), s.point_scores.ravel()) for s in (scores, untrained)
    )
    assert learned > 0.9
    assert before < 0.1  # the same seed, untrained: chance gave it the wrong sign


def test_the_linear_layer_is_trained_once_and_scores_the_other_categories(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    real = train_linear

    def spy(data: FeatureSet, *args: object) -> object:
        trained.append(data.category)
        return real(data, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "train_linear", spy)
    plan = plan_of("ulip_linear", "egg", 5, Recipe().changed(epochs=1))
    assert [s.data.category for s in baseline_scores(plan, workspace)] == ["box", "disc"]
    assert trained == ["egg"]


@pytest.mark.parametrize("name", [n for n, b in BASELINES.items() if b.sees_normal_scans])
def test_memories_remember_the_tested_category_alone(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, str]] = []
    sizes: list[float] = []
    load, remember = DiskStore.load, memory.remember

    def spy(self: DiskStore, data: Dataset, category: str, split: str, *args: Any) -> FeatureSet:
        loaded.append((category, split))
        return load(self, data, category, split, *args)

    def weighed(normal: FeatureSet, **given: Any) -> memory.MemoryBank:
        bank = remember(normal, **given)
        described = given["describe"](normal.batch(slice(None))[0])
        sizes.append(len(bank.memory) / described.flatten(0, 1).shape[0])
        return bank

    monkeypatch.setattr(DiskStore, "load", spy)
    monkeypatch.setattr(memory, "remember", weighed)
    fresh = dataclasses.replace(workspace)  # has loaded nothing yet
    once, again = (list(baseline_scores(plan_of(name), fresh)) for _ in range(2))
    assert loaded == [(c, split) for c in CATEGORIES for split in ("train", "test")]
    for first, second in zip(once, again, strict=True):
        assert np.array_equal(first.point_scores, second.point_scores)
        assert np.array_equal(first.object_scores, second.object_scores)
    # all points, of so few, and the largest share of patches in PatchCore's paper
    assert sizes == pytest.approx(6 * [0.25 if name == "patchcore_encoder" else 1.0])
    # the tiny encoder is untrained and knows no dent: 0.49 over categories and seeds
    least = 0.0 if name == "patchcore_encoder" else 0.8
    assert least < once[-1].measure()["point_auroc"] <= 1


def test_a_record_says_what_a_baseline_was_measured_with(workspace: Workspace) -> None:
    record = score_baseline(plan_of("btf", seed=4), workspace)
    assert (record.baseline, record.train_cat, record.seed, record.recipe) == ("btf", None, 4, None)
    assert record.folder.endswith("/baselines/btf/any,n_points=128/untrained/seed4")
    zero_shot = score_baseline(plan_of("ulip_zero_shot"), workspace)
    assert zero_shot.recipe == PAPER
    assert math.isnan(zero_shot.mean["point_auroc"])


def test_every_baseline_s_footnote_says_whose_it_is_and_both_prompts() -> None:
    for name, baseline in BASELINES.items():
        note = baseline.footnote(USUAL)
        if baseline.sees_normal_scans:
            assert "ours, not the Real3D-AD benchmark's" in note or name == "patchcore_encoder"
    zero_shot = BASELINES["ulip_zero_shot"].footnote(USUAL)
    assert all(f'"{text}"' in zero_shot for text in ZERO_SHOT_TEXTS)


def test_what_is_missing_is_named(tmp_path: Path, workspace: Workspace) -> None:
    root = write_tiny_dataset(tmp_path / "data")
    for path in (root / "egg" / "train").iterdir():
        path.unlink()
    lacking = dataclasses.replace(workspace, dataset=Folder(root))
    with pytest.raises(DataError, match=r"egg: no normal scans in its train.*PatchCore \(FPFH\)"):
        list(baseline_scores(plan_of("patchcore_fpfh"), lacking))
    with pytest.raises(ConfigError, match=r"ULIP.*name it as train_cat"):
        plan_of("ulip_linear")
    with pytest.raises(ConfigError, match="'cpmf' is not known; expected one of ulip_zero_shot"):
        plan_of("cpmf")
    few = plan_of("ulip_linear", "box", recipe=Recipe().changed(batch_size=99))
    with pytest.raises(DataError, match="8 scans do not fill one batch of 99"):
        list(baseline_scores(few, workspace))


def test_fpfh_s_radii_can_be_in_the_scans_own_unit(workspace: Workspace, tmp_path: Path) -> None:
    dataset = workspace.dataset
    apart = DiskStore(tmp_path, workspace.model, POINTS)
    usual = apart.load(dataset, "egg", "test", Wanted(point_fpfh=True))
    chosen = apart.load(dataset, "egg", "test", Wanted(point_fpfh=True, fpfh_radii=(0.5, 1.0)))
    assert usual.features.point_fpfh is not None and chosen.features.point_fpfh is not None
    assert not torch.equal(usual.features.point_fpfh, chosen.features.point_fpfh)
    points = dataset.read(chosen.samples[1]).points
    unit, _, scale = normalise(points)
    rows = ((chosen.features.points[1].numpy()[:, None] - unit) ** 2).sum(-1).argmin(1)
    expected = fpfh(unit, 0.5 / scale, NORMAL_LIMIT, 1.0 / scale, FEATURE_LIMIT, rows=rows)
    np.testing.assert_allclose(
        chosen.features.point_fpfh[1].float(), expected, rtol=1e-3, atol=1e-3
    )


def test_a_memory_with_radii_of_its_own_is_another_record(workspace: Workspace) -> None:
    plan = dataclasses.replace(plan_of("btf"), options=MemoryOptions((0.5, 1.0)))
    record = score_baseline(plan, workspace)
    assert record.fpfh_radii == (0.5, 1.0)
    assert record.folder.endswith("/btf/any,n_points=128,fpfh_radii=0.5-1/untrained/seed1")
    assert record.command.endswith("run_missing=true 'fpfh_radii=[0.5,1]'")
    assert workspace.run(plan).record(workspace.dataset.name) == record
    assert current_record(plan, workspace) == record
    assert record.categories != score_baseline(plan_of("btf"), workspace).categories
    planned = plan_baselines(("1",), plan.settings, CATEGORIES, [1], MemoryOptions((0.5, 1.0)))
    assert {e.name for e in planned if e.options.fpfh_radii} == {"btf", "patchcore_fpfh"}
    assert "0.5 (normals) and 1 in the scans' units" in plan.baseline.footnote(plan.options)


@needs_open3d
def test_a_turned_copy_of_the_template_is_normal_once_registered(
    tmp_path: Path, workspace: Workspace
) -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(600, 3))
    points *= np.array([1.0, 1.5, 2.5]) / np.linalg.norm(points, axis=1, keepdims=True)
    points[points[:, 2] > 1.5] *= 1.3  # the ends differ
    points[points[:, 0] > 0.7] *= 0.8
    turned = points @ Rotation.random(random_state=1).as_matrix().T + [5.0, -3.0, 2.0]
    write_pcd(tmp_path / "data" / "egg" / "train" / "egg_template0.pcd", points)
    write_pcd(tmp_path / "data" / "egg" / "test" / "egg_positive0.pcd", turned)
    folder = Folder(tmp_path / "data")
    store = DiskStore(tmp_path / "store", workspace.model, n_points=len(points))
    farthest = {}
    for registration in get_args(Registration):
        wanted = Wanted(point_fpfh=True, registration=registration)
        normal, seen = (store.load(folder, "egg", split, wanted) for split in ("train", "test"))
        bank = memory.remember(normal, memory.point_fpfh, of_points=True)
        farthest[registration] = float(bank(seen.batch(slice(None))[0]).point_scores.median())
    assert farthest["open3d"] < 0.01 < 0.03 < farthest["none"]


def test_registration_is_an_option_of_patchcore_alone_and_of_its_record(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = MemoryOptions(registration="open3d")
    planned = plan_baselines(("1",), plan_of("btf").settings, CATEGORIES, [1], options)
    assert {e.name for e in planned if e.options != USUAL} == {"patchcore_fpfh"}
    (plan,) = (each for each in planned if each.name == "patchcore_fpfh")
    asked: list[float] = []

    def turn(*_: object, edge: float, seed: int) -> np.ndarray:
        asked.append(edge)
        return np.diag([-1.0, -1.0, 1.0, 1.0])

    monkeypatch.setattr("btp.features.registered.register", turn)
    record = score_baseline(plan, workspace)
    assert len(asked) == sum(
        len(workspace.dataset.samples(c, split)) for c in CATEGORIES for split in ("train", "test")
    ) - len(CATEGORIES)  # the templates stay
    assert all(edge > 0 for edge in asked)
    assert record.registration == "open3d"
    assert record.folder.endswith("any,n_points=128,registration=open3d/untrained/seed1")
    assert record.command.endswith("run_missing=true registration=open3d")
    assert workspace.run(plan).record(workspace.dataset.name) == record
    assert "Open3D: FPFH, RANSAC, ICP" in plan.baseline.footnote(options)
    assert "no scan is registered" in plan.baseline.footnote(USUAL)


def test_an_unknown_registration_is_refused() -> None:
    with pytest.raises(ConfigError, match="registration is 'icp'; expected none or open3d"):
        MemoryOptions(registration="icp")  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [[1.0], [2.0, 1.0], [0.0, 1.0], ["a", 1.0]])
def test_radii_that_are_none_are_refused(given: list[Any]) -> None:
    with pytest.raises(ConfigError, match="expected two positive numbers in the scans' units"):
        check_radii(given)
    assert check_radii(None) is None
    assert check_radii([1, 2.5]) == (1.0, 2.5)
