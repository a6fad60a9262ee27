from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import ENCODER

from btp.errors import ConfigError, WeightsError
from btp.models.point_encoder import Attention, patchify
from btp.models.text_encoder import tokenize
from btp.pretraining import loop, objectives
from btp.pretraining.corpus.shards import CorpusClouds
from btp.pretraining.loop import pretrain
from btp.pretraining.model import PointLanguagePretrainer
from btp.pretraining.objectives import SENTENCES, SOUND, THINGS, Pretraining, Words, corruption

SURFACE = 4
TINY = replace(ENCODER, point=replace(ENCODER.point, point_features=SURFACE, constant_feature=None))
SETTINGS = Pretraining(
    steps=6, batch_size=4, groups=12, warmup=2, bfloat16=False, validate_every=2, seed=3
)


def clouds(count: int, seed: int) -> CorpusClouds:
    """Balls and sticks, told apart by the surface; on every second one some points stand out."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 128, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    points[count // 2 :, :, :2] *= 0.1
    labels = np.zeros((count, 128), bool)
    for cloud, own in zip(points[::2], labels[::2], strict=True):
        own[np.argsort(((cloud - cloud[0]) ** 2).sum(1))[:20]] = True
    surface = rng.normal(0, 0.1, (count, 128, SURFACE)) + labels[..., None]
    surface[count // 2 :] += 1.0
    shapes = ["ball"] * (count // 2) + ["stick"] * (count - count // 2)
    return CorpusClouds(
        points=torch.from_numpy(points),
        surface=torch.from_numpy(surface).half(),
        labels=torch.from_numpy(labels),
        patch_index=patchify(torch.from_numpy(points), TINY.point).to(torch.int16),
        captions=tuple((f"a {shape}", f"one {shape}") for shape in shapes),
        nouns=tuple(("ball", "egg") if shape == "ball" else ("stick",) for shape in shapes),
        origins=tuple(shapes),
        defects=tuple("dent" if own.any() else "" for own in labels),
    )


def test_a_tiny_model_learns_names_and_geometry(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=80, batch_size=8, learning_rate=3e-3, validate_every=80)
    kept = pretrain(TINY, settings, clouds(16, 0), clouds(32, 1), tmp_path)
    assert kept["step"] == 80
    assert kept["explained"] > 0.3  # what is hidden is like what is seen; the rest is noise
    model = PointLanguagePretrainer(TINY, settings.groups)
    state = torch.load(tmp_path / "pretraining.pt", weights_only=True)
    model.load_state_dict(state["trainee"])
    fresh = clouds(16, 2)
    words = Words.of(fresh, TINY.text.context_length, torch.device("cpu"))
    with torch.inference_mode():
        found = model.eval().points(fresh.points, fresh.surface.float()).object_embedding
        best = (found @ model.encode_text(words.names).T).argmax(1)
    right = [{0: "ball", 1: "egg", 2: "stick"}[int(b)] for b in best]
    hits = np.mean([name in nouns for name, nouns in zip(right, fresh.nouns, strict=True)])
    assert hits > 0.85  # chance: a half


def test_no_objective_reads_the_labels() -> None:
    data = clouds(8, 0)
    blind = replace(data, labels=torch.zeros_like(data.labels), defects=("",) * len(data))
    words = Words.of(data, TINY.text.context_length, torch.device("cpu"))
    found = []
    for each in (data, blind):
        torch.manual_seed(0)
        model = PointLanguagePretrainer(TINY, SETTINGS.groups)
        terms = objectives.losses(model, each, words, SETTINGS, 0, torch.device("cpu"))
        found.append({name: term.item() for name, (_, term) in terms.items()})
    assert found[0] == found[1]


def test_the_towers_see_what_the_finished_encoder_sees() -> None:
    data = clouds(4, 0)
    model = PointLanguagePretrainer(TINY, TINY.point.groups).eval()
    inputs = (data.points, data.surface.float(), data.patch_index.long())
    with torch.inference_mode():
        embedding, _ = model(*inputs)
        expected = model.points(*inputs).object_embedding
    torch.testing.assert_close(embedding, expected)


def test_hidden_patches_are_not_seen() -> None:
    data = clouds(4, 0)
    torch.manual_seed(0)
    model = PointLanguagePretrainer(TINY, TINY.point.groups).eval()
    index = data.patch_index.long()
    rng = np.random.default_rng(0)
    settings = replace(SETTINGS, foreign=0.0)
    hidden = corruption(4, index.shape[1], settings, rng, torch.device("cpu"))
    others = torch.zeros(data.points.shape[:2], dtype=torch.bool)
    others.scatter_(1, index.masked_fill(hidden.blank[..., None], 0).flatten(1), True)
    others[:, 0] = index[:, :, 0].eq(0).any(1)
    changed = data.surface.float() + 5.0 * ~others[..., None]  # points in hidden patches alone
    with torch.inference_mode():
        found = [model(data.points, s, index, hidden)[1] for s in (data.surface.float(), changed)]
        whole = [model(data.points, s, index)[1] for s in (data.surface.float(), changed)]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(whole[0], whole[1])


def test_how_much_is_hidden_is_fixed_and_foreign_patches_come_from_the_batch() -> None:
    settings = replace(SETTINGS, whole=0.25, hidden=(0.3, 0.8), foreign=0.3)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        found = corruption(8, 100, settings, rng, torch.device("cpu"))
        assert not (found.blank & found.foreign).any()
        per_cloud = found.hidden.sum(1)
        assert (per_cloud == 0).sum() == 2
        assert int(found.foreign.sum()) == round(0.3 * int(found.hidden.sum()))
        assert 0 <= found.source.min() < found.source.max() < 800
        assert 0.25 < found.hidden.float().mean() < 0.6


def test_geometry_is_the_mean_and_the_range_over_a_patch_s_points() -> None:
    data = clouds(4, 0)
    model = PointLanguagePretrainer(TINY, TINY.point.groups)
    index = data.patch_index.long()
    found = model.geometry_targets(data.surface.float(), index)
    plain = []
    for cloud, patches in zip(data.surface.float(), index, strict=True):
        for patch in patches:
            held = cloud[patch, : SURFACE // 2]
            plain.append(torch.cat([held.mean(0), held.amin(0), held.amax(0)]))
    expected = torch.stack(plain)
    expected = (expected - expected.mean(0)) / (expected.std(0) + 1e-3)
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=1e-4, atol=1e-4)


def test_the_same_state_in_other_words_is_the_pair_of_a_statement() -> None:
    words = Words.of(clouds(4, 0), 77, torch.device("cpu"))
    things = len(THINGS) + 3  # and ball, egg, stick
    assert words.statements.shape[:3] == (things, 2, len(SOUND) * len(SENTENCES))
    assert torch.equal(words.statements[0, 0, 0], tokenize(["normal object."])[0])
    assert torch.equal(words.statements[0, 1, 0], tokenize(["defective object."])[0])
    learned = set(words.learned().tolist())
    met = tokenize(["a broken stick", "one ball", "an egg", "defective object."])
    assert set(met.unique().tolist()) <= learned
    assert not set(tokenize(["zebra"])[0].unique().tolist()) <= learned


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, held_out = clouds(8, 0), clouds(8, 1)
    pretrain(TINY, SETTINGS, data, held_out, tmp_path / "whole")
    losses = loop.losses

    def interrupted(*args):
        if args[4] == 3:
            raise KeyboardInterrupt
        return losses(*args)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(TINY, SETTINGS, data, held_out, tmp_path / "cut")
    pretrain(TINY, SETTINGS, data, held_out, tmp_path / "cut", resume=True)
    states = [
        torch.load(tmp_path / name / "pretraining.pt", weights_only=True)["trainee"]
        for name in ("whole", "cut")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with pytest.raises(WeightsError, match="with other settings: seed 3, not 4; repeat"):
        pretrain(TINY, replace(SETTINGS, seed=4), data, held_out, tmp_path / "cut", resume=True)
    with pytest.raises(WeightsError, match="with other settings: clouds "):
        pretrain(TINY, SETTINGS, clouds(8, 2), held_out, tmp_path / "cut", resume=True)


def test_a_pretraining_goes_on_from_an_earlier_one_s_towers(tmp_path: Path) -> None:
    data, held_out = clouds(8, 0), clouds(8, 1)
    pretrain(TINY, SETTINGS, data, held_out, tmp_path / "first")
    still = replace(SETTINGS, steps=1, learning_rate=0.0)
    pretrain(TINY, still, data, held_out, tmp_path / "then", start=tmp_path / "first")
    model = PointLanguagePretrainer(TINY, 12)
    for tower, module in (("points", model.points), ("text", model.text.tower)):
        first, then = (load_file(tmp_path / n / f"{tower}.safetensors") for n in ("first", "then"))
        for name, _ in module.named_parameters():
            torch.testing.assert_close(first[name], then[name], atol=0, rtol=0)
    with pytest.raises(WeightsError, match="first"):
        wide = replace(TINY, point=replace(TINY.point, width=48))
        pretrain(wide, still, data, held_out, tmp_path / "wide", start=tmp_path / "first")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 1}, {"validate_every": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{next(iter(wrong))} is \d; expected"):
        replace(SETTINGS, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"batch_size": 16}, "batch_size is 16.* 8 clouds"), ({"groups": 99}, "groups is 99.* has")],
)
def test_more_than_there_is_cannot_be_drawn(
    tmp_path: Path, wrong: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pretrain(TINY, replace(SETTINGS, **wrong), clouds(8, 0), clouds(8, 1), tmp_path)


def test_training_attends_as_the_finished_encoder_does() -> None:
    attention = Attention(16, 4)
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention.train()(x), attention.eval()(x))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_same_step() -> None:
    data = clouds(8, 0)
    words = Words.of(data, TINY.text.context_length, torch.device("cpu"))
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = PointLanguagePretrainer(TINY, SETTINGS.groups, compiled)
        terms = objectives.losses(model, data, words, SETTINGS, 0, torch.device("cpu"))
        torch.stack([term for _, term in terms.values()]).sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([*(term.detach() for _, term in terms.values()), *gradients])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_rare_names_are_not_pulled_towards_frequent_ones() -> None:
    """With towers that tell nothing the name loss is the prior's: no reason to prefer a name."""
    data = clouds(16, 0)
    data = replace(data, nouns=tuple(("ball",) if i < 12 else ("stick",) for i in range(16)))
    words = Words.of(data, TINY.text.context_length, torch.device("cpu"))
    settings = replace(SETTINGS, batch_size=16)
    model = PointLanguagePretrainer(TINY, settings.groups)
    with torch.no_grad():
        model.points.logit_scale.fill_(-30.0)  # all similarities become 0
    terms = objectives.losses(model, data, words, settings, 0, torch.device("cpu"))
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert terms["name"][1].item() == pytest.approx(expected, abs=1e-5)


def test_a_name_s_prior_counts_the_first_name_most() -> None:
    words = Words.of(clouds(4, 0), 77, torch.device("cpu"))  # two of (ball, egg), two of (stick,)
    first = 1 / (1 + np.exp(-1.0))
    expected = np.log([first / 2, (1 - first) / 2, 1 / 2])
    np.testing.assert_allclose(words.log_prior, expected, atol=1e-6)
    assert words.nouns == [(0, 1), (0, 1), (2,), (2,)]
    assert len(words.names) == 3
