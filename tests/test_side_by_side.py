"""Seeds trained side by side are, each, what `train` makes of them alone."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from tiny import recipe_file, tiny_features, tiny_model

from btp.errors import DataError
from btp.evaluation.scoring import score
from btp.features.store import FeatureSet
from btp.models.checkpoint import load_detector
from btp.models.point_language import PointLanguageModel
from btp.training import resume as progress
from btp.training.loop import train
from btp.training.side_by_side import Job, train_side_by_side
from btp.training.stacked import Stack

SHIFT = re.compile(r"gfcm\.mlp\d\.(0\.bias|1\.running_mean)")
# Not 112: with plus, one unit comes within 4e-7 of its ReLU's kink in the third step, and rounding
# decides if it has a gradient; Adam makes whole steps of that.
SEEDS = (111, 114, 113)
PAPER, PLUS = recipe_file("paper"), recipe_file("plus")
RECIPES = {
    "paper": PAPER,
    "release": recipe_file("release"),
    "plus": PLUS,
    "centred": dataclasses.replace(PLUS, gfcm_input="centred", keep="last"),
    "without GFCM": dataclasses.replace(PAPER, use_geometry=False, clip_norm=0.01),
    "without taps": dataclasses.replace(PAPER, use_taps=False),
}


@pytest.fixture(scope="module")
def model() -> PointLanguageModel:
    return tiny_model()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return tiny_features(tmp_path_factory.mktemp("side_by_side"))


def jobs(out: Path) -> list[Job]:
    return [Job(seed, out / f"{seed}", {"seed": seed}) for seed in SEEDS]


def assert_same(found: Path, expected: Path, tolerance: float) -> None:
    """Weights, norms' statistics, text embeddings, context and metadata, and what was logged."""
    from safetensors.torch import load_file

    for seed in SEEDS:
        files = [root / f"{seed}" / "detector.safetensors" for root in (found, expected)]
        about = [load_detector(file)[2] for file in files]
        assert about[0].pop("loss") == pytest.approx(about[1].pop("loss"), rel=tolerance)
        assert about[0] == about[1]
        ours, theirs = map(load_file, files)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            # A shift before a norm has no effect: its gradient is rounding, of which Adam makes
            # whole steps, and the norm's mean holds it.
            shifted = SHIFT.fullmatch(name) is not None
            atol = 5e-3 if shifted else tolerance
            difference = (value - theirs[name]).abs().max()
            assert difference <= atol + tolerance * theirs[name].abs().max(), name
        logged, expected_log = (scalars(root / f"{seed}") for root in (found, expected))
        assert logged.keys() == expected_log.keys()
        for name, values in logged.items():
            assert values == pytest.approx(expected_log[name], rel=tolerance), name
        assert not (found / f"{seed}" / "resume.pt").exists()


def scalars(folder: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [e.value for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.filterwarnings("error:There is a performance drop")
def test_each_seed_is_what_it_is_alone(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path, name: str
) -> None:
    for job in jobs(tmp_path / "alone"):
        train(data, model, RECIPES[name], *job, quiet=True)
    trained = train_side_by_side(
        data, model, RECIPES[name], jobs(tmp_path / "together"), quiet=True
    )
    assert_same(tmp_path / "together", tmp_path / "alone", 1e-4)
    kept = load_detector(tmp_path / "together" / "114" / "detector.safetensors")[0].state_dict()
    assert all(torch.equal(kept[k], v) for k, v in trained[1].state_dict().items())


def test_each_seed_stays_near_itself_in_16_bit(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    given = jobs(tmp_path / "together")
    together = train_side_by_side(data, model, PLUS, given, bfloat16=True, quiet=True)
    for seed, found in zip(SEEDS, together, strict=True):
        expected = train(data, model, PLUS, seed, tmp_path / "alone", bfloat16=True, quiet=True)
        difference = score(found, data).point_scores - score(expected, data).point_scores
        assert abs(difference).max() < 0.02


def killed_after(monkeypatch: pytest.MonkeyPatch, epoch: int, seed: int) -> None:
    """The process ends as a seed's epoch was kept and written."""
    real = progress.State.after_epoch

    def stop(self: progress.State, at: int, loss: float, keep_lowest: bool) -> None:
        real(self, at, loss, keep_lowest)
        if at == epoch and self.path.parent.name == f"{seed}":
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.State, "after_epoch", stop)


@pytest.mark.parametrize("keep", ["last", "lowest_loss"])
def test_killed_between_two_seeds_it_goes_on_together_or_alone(
    data: FeatureSet,
    model: PointLanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
) -> None:
    recipe = dataclasses.replace(PLUS, epochs=6, keep=keep)  # type: ignore[arg-type]
    train_side_by_side(data, model, recipe, jobs(tmp_path / "whole"), quiet=True)
    with monkeypatch.context() as patched:
        patched.setattr(progress, "RESUME_EVERY", 2)
        killed_after(patched, epoch=3, seed=114)  # so that 113 has written its second epoch only
        with pytest.raises(KeyboardInterrupt):
            train_side_by_side(data, model, recipe, jobs(tmp_path / "cut"), quiet=True)
    epochs = [torch.load(job.out / "resume.pt")["epoch"] for job in jobs(tmp_path / "cut")]
    assert epochs == [3, 3, 1]
    first, second, third = jobs(tmp_path / "cut")
    train(data, model, recipe, *second, resume=True, quiet=True)
    begun: list[tuple[int, ...]] = []
    real = Stack.run_epoch

    def spy(self: Stack, data: FeatureSet, seeds: list[int], epoch: int, half: bool) -> object:
        begun.append((epoch, *seeds))
        return real(self, data, seeds, epoch, half)

    monkeypatch.setattr(Stack, "run_epoch", spy)
    train_side_by_side(data, model, recipe, [first, third], resume=True, quiet=True)
    assert begun == [*((epoch, 113) for epoch in range(2, 6)), (4, 111), (5, 111)]
    assert_same(tmp_path / "cut", tmp_path / "whole", 1e-4)


def test_a_seed_whose_loss_is_no_number_is_named_and_spoils_no_other(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Stack.__init__
    stacks: list[Stack] = []

    def broken(self: Stack, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        stacks.append(self)
        self.tensors["detector.mgfem.fusion.0.bias"].data[1] = torch.nan

    monkeypatch.setattr(Stack, "__init__", broken)
    with pytest.raises(DataError, match=r"egg, seed 114: the loss became .*nan.* in epoch 1"):
        train_side_by_side(data, model, PAPER, jobs(tmp_path), quiet=True)
    for name, tensor in stacks[0].tensors.items():
        assert torch.isfinite(tensor[::2]).all(), name


def test_too_few_scans_for_a_batch(
    data: FeatureSet, model: PointLanguageModel, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(PAPER, batch_size=6)
    with pytest.raises(DataError, match="5 scans do not fill one batch of 6"):
        train_side_by_side(data, model, recipe, jobs(tmp_path), quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_seeds_that_start_from_pretrained_heads(data: FeatureSet, tmp_path: Path) -> None:
    plain = tiny_model()
    about = {"encoder_fingerprint": plain.fingerprint}
    train(data, plain, PLUS, 5, tmp_path / "heads", about, quiet=True)
    path = str(tmp_path / "heads" / "detector.safetensors")
    model = PointLanguageModel(dataclasses.replace(plain.config, heads=path))
    recipe = dataclasses.replace(PLUS, heads="pretrained")
    for job in jobs(tmp_path / "alone"):
        train(data, model, recipe, *job, quiet=True)
    train_side_by_side(data, model, recipe, jobs(tmp_path / "together"), quiet=True)
    assert_same(tmp_path / "together", tmp_path / "alone", 1e-4)
