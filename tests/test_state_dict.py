"""Files that are not what they should be, and files that would run code."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from btp.errors import WeightsError
from btp.weights.state_dict import fingerprint, load_strictly, read_checkpoint, read_metadata

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}
CONTAINER = {
    "epoch": 7,
    "state_dict": STATE,
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
    "scaler": {},
    "best_acc1": 0.5,
    "args": argparse.Namespace(model="ULIP2_PointBERT_Colored", lr=1e-3, gpu=None),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_container_is_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "file.pt"
    torch.save(CONTAINER, path, _use_new_zipfile_serialization=zipped)
    content = read_checkpoint(path)
    assert content.keys() == CONTAINER.keys()
    assert content["args"].model == "ULIP2_PointBERT_Colored"
    assert all(torch.equal(content["state_dict"][name], STATE[name]) for name in STATE)


class Malicious:
    """Pickled, it makes a folder when loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "file.pt", tmp_path / "trace"
    content = {"state_dict": STATE, "args": Malicious(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        WeightsError, match=r"file\.pt: holds the Python object \w+\.mkdir.*nothing in it was run"
    ):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have


def test_other_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"path": Path("harmless")}, path)
    with pytest.raises(WeightsError, match="Python object pathlib"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git-LFS pointer"),
        (b"\n<!DOCTYPE html><html><title>Sign in</title>", "a web page, not weights"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "a server's message.*AccessD"),
        (b'{"error":"Repository not found"}', "a server's message.*Repository not found"),
        (b"\x00\x01\x02 noise" * 9, "cannot be read as a checkpoint"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_impostors_are_named(tmp_path: Path, content: bytes, message: str, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"file{suffix}: .*{message}.*scripts/weights.py"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_half_downloaded_files_are_named(tmp_path: Path, share: float, kind: str) -> None:
    path = tmp_path / ("file.safetensors" if kind == "safetensors" else "file.pt")
    state = {f"layer{i}": torch.randn(50, 50) for i in range(8)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"incomplete download.*scripts/weights.py"):
        read_checkpoint(path)


def test_a_missing_file_and_a_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such file.*scripts/weights\.py"):
        read_checkpoint(tmp_path / "file.pt")
    torch.save([1, 2], tmp_path / "file.pt")
    with pytest.raises(WeightsError, match="holds a list; expected a state dict"):
        read_checkpoint(tmp_path / "file.pt")


def test_pickles_without_torch_are_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "file.pt", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not trace.exists()


def test_metadata_is_in_safetensors_only(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors", metadata={"btp": '{"seed": 3}'})
    save_file(STATE, tmp_path / "b.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == {"seed": 3}
    assert read_metadata(tmp_path / "b.safetensors") is None
    assert read_metadata(tmp_path / "c.pt") is None


def test_strict_loading_names_every_difference() -> None:
    module = nn.Linear(3, 2)
    with pytest.raises(WeightsError) as error:
        load_strictly(module, {"weight": torch.zeros(2, 4), "stray": torch.zeros(1)}, "file.pt")
    message = str(error.value)
    for part in (
        "file.pt: not the weights of this Linear",
        "missing: bias",
        "unexpected: stray",
        "weight [2, 4] instead of [2, 3]",
    ):
        assert part in message


def test_assigning_fills_a_module_without_memory() -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    half = {name: tensor.bfloat16() for name, tensor in STATE.items()}
    load_strictly(module, half, "file.pt", assign=True)
    assert module.weight.dtype == torch.bfloat16
    assert module.weight.data_ptr() == half["weight"].data_ptr()


def test_fingerprint_sees_names_shapes_types_and_values() -> None:
    base = fingerprint(STATE.items())
    assert fingerprint(reversed(list(STATE.items()))) == base
    changed = [
        {"weight": STATE["weight"].view(3, 2), "bias": STATE["bias"]},
        {"weight": STATE["weight"], "offset": STATE["bias"]},
        {"weight": STATE["weight"] + 1e-6, "bias": STATE["bias"]},
        {"weight": STATE["weight"], "bias": STATE["bias"].bfloat16()},
    ]
    assert len({base, *(fingerprint(state.items()) for state in changed)}) == 5
