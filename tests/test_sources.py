"""From nothing to a model's weights: against a hub on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub, hub_in_place
from published import published_point, published_text
from safetensors.torch import load_file, save
from tiny import ENCODER

from btp.errors import ConfigError, WeightsError
from btp.models.point_encoder import PointBERT
from btp.models.point_language import EncoderConfig, PointLanguageModel
from btp.models.published_weights import POINT, TEXT, fetch, status
from btp.weights.records import read_record, record_path

POINT_PATH = f"/datasets/{POINT.repo}/resolve/main/{POINT.files[0]}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub_in_place(monkeypatch) as hub:
        hub.add(f"datasets/{POINT.repo}", POINT.files[0], published_point())
        hub.add(TEXT.repo, "open_clip_model.safetensors", save(published_text()))
        yield hub


@pytest.fixture
def encoder(tmp_path: Path) -> EncoderConfig:
    return replace(
        ENCODER,
        point_weights=str(tmp_path / "weights" / "point.safetensors"),
        text_weights=str(tmp_path / "weights" / "text.safetensors"),
    )


def check_weights(encoder: EncoderConfig) -> None:
    """What stands there is what was published, and the model loads it."""
    model = PointLanguageModel(encoder)
    torch.manual_seed(1)
    expected = PointBERT(ENCODER.point).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in model.points.state_dict().items())
    published = published_text()
    for name, tensor in model.text.tower.state_dict().items():
        assert torch.equal(tensor, published[name].half().float())


def visible(encoder: EncoderConfig) -> set[str]:
    folder = Path(encoder.point_weights or "").parent
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


WHOLE = {"point.safetensors", "text.safetensors"}
RECORDED = WHOLE | {f"{name}.json" for name in WHOLE}


def test_one_command_gets_both(hub: FakeHub, encoder: EncoderConfig) -> None:
    assert "missing" in status(encoder)[0]
    fetch(encoder)
    assert visible(encoder) == RECORDED
    check_weights(encoder)
    record = read_record(encoder.point_weights or "")
    assert record is not None
    assert record.source == f"{POINT.repo}/{POINT.files[0]}"
    assert status(encoder)[0] == "point encoder: there"
    sent = hub.sent
    fetch(encoder)
    assert hub.sent == sent  # a second time brings nothing


def test_the_image_tower_does_not_cross_the_wire(hub: FakeHub, encoder: EncoderConfig) -> None:
    fetch(encoder)
    text = sum(4 * v.numel() for k, v in published_text().items() if k in load_file(_text(encoder)))
    assert hub.sent < len(published_point()) + text + 10_000


def _text(encoder: EncoderConfig) -> Path:
    return Path(encoder.text_weights or "")


def test_a_repository_without_safetensors_is_cut_too(hub: FakeHub, encoder: EncoderConfig) -> None:
    hub.files.pop(f"/{TEXT.repo}/resolve/main/open_clip_model.safetensors")
    buffer = BytesIO()
    torch.save(published_text(), buffer)
    hub.add(TEXT.repo, "open_clip_pytorch_model.bin", buffer.getvalue())
    fetch(encoder)
    assert visible(encoder) == RECORDED
    check_weights(encoder)


def test_an_interrupted_fetch_goes_on(hub: FakeHub, encoder: EncoderConfig) -> None:
    hub.down_after = len(published_point()) + 1_000_000
    with pytest.raises(WeightsError, match=r"broke off.*repeat the command"):
        fetch(encoder)
    assert not _text(encoder).exists()
    hub.down_after, before = 1 << 40, hub.sent
    fetch(encoder)
    check_weights(encoder)
    assert visible(encoder) == RECORDED
    total = sum(4 * v.numel() for v in published_text().values()) - 4_000_000
    assert hub.sent - before < total - 800_000  # what had come did not come again


def test_another_content_than_marked_leaves_nothing(hub: FakeHub, encoder: EncoderConfig) -> None:
    hub.etags[POINT_PATH] = "0" * 64
    with pytest.raises(WeightsError, match=r"sha256.*expected 0000.*fetch=ulip2"):
        fetch(encoder)
    assert visible(encoder) == set()


def test_a_publication_that_changed_is_noticed(hub: FakeHub, encoder: EncoderConfig) -> None:
    fetch(encoder)
    Path(encoder.point_weights or "").unlink()
    hub.files[POINT_PATH] += b"x"
    with pytest.raises(
        WeightsError, match=r"has changed; found .*Delete .*point\.safetensors\.json"
    ):
        fetch(encoder)
    hub.files[POINT_PATH] = published_point()
    fetch(encoder)
    check_weights(encoder)


def test_damage_is_found(hub: FakeHub, encoder: EncoderConfig) -> None:
    fetch(encoder)
    content = bytearray(_text(encoder).read_bytes())
    content[-1] ^= 1
    _text(encoder).write_bytes(content)
    os.utime(_text(encoder), ns=(1, 1))
    for use in (
        lambda: fetch(encoder),
        lambda: PointLanguageModel(encoder).text,
        lambda: PointLanguageModel(encoder).encode_text(["vase"]),
    ):
        with pytest.raises(WeightsError, match=r"text\.safetensors: not the file.*recorded"):
            use()
    assert status(encoder)[4] == "text tower: DAMAGED"


def test_a_full_disk_is_seen_before(
    hub: FakeHub, encoder: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WeightsError, match=r"are free on this disk, expected .*fetch=ulip2"):
        fetch(encoder)
    assert visible(encoder) == set()
    assert hub.sent == 0


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_files_got_by_hand(tmp_path: Path, encoder: EncoderConfig, name: str) -> None:
    point, text = tmp_path / "ulip2.pt", tmp_path / name
    point.write_bytes(published_point())
    if name.endswith(".bin"):
        torch.save(published_text(), text)
    else:
        text.write_bytes(save(published_text()))
    assert fetch(encoder, point) == [Path(encoder.point_weights or "")]
    assert fetch(encoder, text) == [_text(encoder)]
    assert visible(encoder) == RECORDED
    assert point.exists()
    assert text.exists()
    check_weights(encoder)


def test_wrong_files_got_by_hand_are_named(tmp_path: Path, encoder: EncoderConfig) -> None:
    torch.save({"base_model": {}, "optimizer": {}}, tmp_path / "Point-BERT.pth")
    with pytest.raises(WeightsError, match="Point-BERT's own pretraining"):
        fetch(encoder, tmp_path / "Point-BERT.pth")
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "resnet.pt")
    with pytest.raises(WeightsError, match=r"holds fc\.weight .*expected ULIP-2-PointBERT-10k"):
        fetch(encoder, tmp_path / "resnet.pt")
    (tmp_path / "half.pt").write_bytes(published_point()[:5000])
    with pytest.raises(WeightsError, match="incomplete download"):
        fetch(encoder, tmp_path / "half.pt")


def test_files_put_in_place_by_hand_are_recorded(hub: FakeHub, encoder: EncoderConfig) -> None:
    fetch(encoder)
    record_path(_text(encoder)).unlink()
    assert status(encoder)[4] == "text tower: there, not recorded"
    fetch(encoder)
    assert read_record(_text(encoder)) is not None


def test_an_encoder_without_publication_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tiny has no published weights.*encoder=ulip2"):
        fetch(ENCODER)


def test_two_processes_get_each_file_once(hub: FakeHub, encoder: EncoderConfig) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests']; from dataclasses import replace\n"
        "from tiny import ENCODER; from btp.models.published_weights import fetch\n"
        f"fetch(replace(ENCODER, point_weights={encoder.point_weights!r}, "
        f"text_weights={encoder.text_weights!r}))"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.address}
    root = Path(__file__).parent.parent
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=root) for _ in "ab"
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    check_weights(encoder)
    assert visible(encoder) == RECORDED
    text = sum(4 * v.numel() for v in published_text().values()) - 4_000_000
    assert hub.sent < len(published_point()) + text + 10_000
