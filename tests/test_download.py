"""Downloads that are interrupted, refused, changed, or do not fit, from a hub on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_hub import FakeHub, hub_in_place

from btp.errors import WeightsError
from btp.weights.download import fetch_whole, fill, partial_path, require_space
from btp.weights.sources import LocalFile, RemoteFile, find_remote

CONTENT = np.random.default_rng(0).bytes(3_000_000)
REPO = "someone/something"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub_in_place(monkeypatch) as hub:
        hub.add(f"datasets/{REPO}", "model.pt", CONTENT)
        yield hub


def find() -> RemoteFile:
    return find_remote(REPO, "dataset", ("better.pt", "model.pt"))


def test_the_first_file_that_exists_is_found(hub: FakeHub) -> None:
    remote = find()
    assert remote.name == f"{REPO}/model.pt"
    assert remote.size == len(CONTENT)
    with pytest.raises(WeightsError, match=r"has none of a\.pt, b\.pt.*path="):
        find_remote(REPO, "dataset", ("a.pt", "b.pt"))


def test_an_unreachable_hub_names_the_ways_out(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    with pytest.raises(WeightsError, match=r"cannot be reached.*HTTPS_PROXY or HF_ENDPOINT.*path="):
        find()


@pytest.mark.parametrize(("start", "stop"), [(0, 3_000_000), (5, 6), (1_048_575, 2_500_001)])
@pytest.mark.parametrize("ranges", [True, False])
def test_any_part_can_be_read(hub: FakeHub, start: int, stop: int, ranges: bool) -> None:
    hub.ranges = ranges
    assert b"".join(find().read(start, stop)) == CONTENT[start:stop]


def test_a_local_file_reads_alike(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert b"".join(LocalFile.at(path).read(7, 2_000_000)) == CONTENT[7:2_000_000]


def test_cuts_are_taken_up_where_they_came(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut, hub.cuts = 700_000, 3
    fetch_whole(find(), tmp_path / "part", "again")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert hub.sent == len(CONTENT)  # nothing came twice


def test_an_interrupted_download_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.down_after = 1_200_000
    part = tmp_path / "part"
    with pytest.raises(WeightsError, match=r"broke off after 1,200,000 of 3,000,000.*is kept"):
        fetch_whole(find(), part, "again")
    assert part.read_bytes() == CONTENT[:1_200_000]
    hub.down_after, hub.requested = 1 << 40, []
    fetch_whole(find(), part, "again")
    assert part.read_bytes() == CONTENT
    assert hub.requested == [(1_200_000, 1_800_000)]


def test_a_file_that_changes_meanwhile_is_noticed(hub: FakeHub) -> None:
    remote = find()
    hub.add(f"datasets/{REPO}", "model.pt", CONTENT + b"more")
    with pytest.raises(WeightsError, match=r"now has 3,000,004 bytes, expected 3,000,000"):
        list(remote.read(10, 20))


def test_a_refused_download_is_not_repeated(hub: FakeHub) -> None:
    remote = find()
    hub.files.clear()
    with pytest.raises(WeightsError, match="404"):
        list(remote.read(0, 10))


def test_other_bytes_than_published_are_deleted(hub: FakeHub, tmp_path: Path) -> None:
    hub.etags[f"/datasets/{REPO}/resolve/main/model.pt"] = "a" * 64
    part = tmp_path / "part"
    with pytest.raises(WeightsError, match=f"have sha256 [0-9a-f]+, expected {'a' * 64}.*Repeat"):
        fetch_whole(find(), part, "the command")
    assert not part.exists()


def test_a_full_disk_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000_000))
    require_space(tmp_path, 900_000_000, "again")
    with pytest.raises(WeightsError, match=r"1\.00 GB are free.*expected 2\.07 GB.*again"):
        fill(tmp_path / "part", 2_000_000_000, lambda done: iter(()), "file", "again")
    assert not (tmp_path / "part").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_reported(tmp_path: Path) -> None:
    (tmp_path / "part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"No space left.*is kept.*repeat: again"):
        fill(tmp_path / "part", len(CONTENT), lambda done: iter([CONTENT]), "file", "again")


def test_a_wrong_size_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="3 bytes came, expected 4"):
        fill(tmp_path / "part", 4, lambda done: iter([b"abc"]), "file", "again")
    assert not (tmp_path / "part").exists()


def test_partial_files_of_other_contents_lie_elsewhere() -> None:
    target = Path("folder/weights.safetensors")
    assert partial_path(target, '"abc"') == Path("folder/.weights.safetensors.abc.partial")
    assert partial_path(target, "abd") != partial_path(target, "abc")
