"""The text tower cut out of whole models, in every format and from every point of interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from btp.errors import WeightsError
from btp.models.text_encoder import TextConfig, TextTower
from btp.weights.sources import LocalFile
from btp.weights.text_cut import TextCut, cut_checkpoint, plan_cut

TOWER = TextTower(TextConfig(width=8, heads=2, layers=2, embed_dim=6, vocab_size=50))
TEXT = {name: tensor.detach() for name, tensor in TOWER.state_dict().items()}


def whole_model(dtype: torch.dtype = torch.float32, prefix: str = "") -> dict[str, Tensor]:
    """As OpenCLIP saves it: image tower and scale beside the text tower."""
    images = {f"visual.{i}": torch.full((30, 40), float(i)) for i in range(4)}
    text = {prefix + name: tensor for name, tensor in TEXT.items()}
    state = images | text | {"logit_scale": torch.tensor(4.6)}
    return {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}


def plan(folder: Path, state: dict[str, Tensor]) -> TextCut:
    save_file(state, folder / "whole.safetensors")
    return plan_cut(LocalFile.at(folder / "whole.safetensors"), TEXT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("prefix", ["", "text."])
def test_the_cut_is_the_text_tower_in_16_bits(
    tmp_path: Path, dtype: torch.dtype, prefix: str
) -> None:
    cut = plan(tmp_path, whole_model(dtype, prefix))
    content = b"".join(cut.read())
    assert len(content) == cut.size
    found = load(content)
    assert found.keys() == TEXT.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.float16
        assert torch.equal(tensor, TEXT[name].to(dtype).half())


@given(done=st.integers(0, 10_000))
def test_it_goes_on_from_any_byte(tmp_path_factory: pytest.TempPathFactory, done: int) -> None:
    cut = plan(tmp_path_factory.mktemp("cut"), whole_model())
    content = b"".join(cut.read())
    done = min(done, cut.size)
    assert b"".join(cut.read(done)) == content[done:]


def test_only_the_text_tensors_are_read(tmp_path: Path) -> None:
    cut = plan(tmp_path, whole_model())
    read = sum(stop - start for start, stop, _ in cut.ranges)
    assert read == sum(4 * tensor.numel() for tensor in TEXT.values())
    assert len(cut.ranges) <= 2  # neighbours come in one request


def test_a_pytorch_file_gives_the_same_tensors(tmp_path: Path) -> None:
    torch.save(whole_model(), tmp_path / "whole.bin")
    cut_checkpoint(tmp_path / "whole.bin", TEXT, tmp_path / "text.safetensors")
    expected = load(b"".join(plan(tmp_path, whole_model()).read()))
    found = load_file(tmp_path / "text.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_another_tower_is_refused_before_it_is_read(tmp_path: Path) -> None:
    state = whole_model()
    state["text_projection"] = torch.zeros(8, 5)
    state["ln_final.extra"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=r"unexpected: ln_final\.extra; other shape: text_proj"):
        plan(tmp_path, state)


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_values_beyond_16_bits_are_refused(tmp_path: Path, value: float) -> None:
    state = whole_model()
    state["ln_final.bias"][3] = value
    with pytest.raises(WeightsError, match="not finite numbers of 16 bits"):
        list(plan(tmp_path, state).read())
    torch.save(state, tmp_path / "whole.bin")
    with pytest.raises(WeightsError, match="not finite numbers of 16 bits"):
        cut_checkpoint(tmp_path / "whole.bin", TEXT, tmp_path / "text.safetensors")
    assert not (tmp_path / "text.safetensors").exists()


def damaged(kind: str) -> bytes:
    content = save(whole_model())
    if kind == "cut in the header":
        return content[:100]
    if kind == "cut in the tensors":
        return content[:-1000]
    if kind == "no json":
        return content[:8] + b"x" + content[9:]
    if kind == "no table of tensors":
        return (2).to_bytes(8, "little") + b"[]"
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header["text_projection"]["data_offsets"][1] += 4
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "kind",
    [
        "cut in the header",
        "cut in the tensors",
        "no json",
        "no table of tensors",
        "offsets that do not fit",
    ],
)
def test_damaged_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "whole.safetensors"
    path.write_bytes(damaged(kind))
    with pytest.raises(WeightsError, match=r"whole\.safetensors: .*expected a whole.*fetch=ulip2"):
        plan_cut(LocalFile.at(path), TEXT)


def test_integers_are_refused(tmp_path: Path) -> None:
    state = whole_model() | {"ln_final.bias": torch.zeros(8, dtype=torch.int64)}
    with pytest.raises(WeightsError, match=r"ln_final\.bias is of type I64; expected F32"):
        plan(tmp_path, state)
