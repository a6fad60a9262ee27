"""Getting bytes of large files from the Hugging Face hub, in spite of interruptions.

The hub's own client finds files and brings proxies, mirrors (HF_ENDPOINT) and tokens; the bytes are
read here because it keeps nothing of an interrupted download and cannot get a part of a file.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from btp.errors import WeightsError
from btp.weights.records import file_sha256

BLOCK = 1 << 20  # bytes
RESERVE = 64 << 20  # bytes that a download leaves free on the disk
ATTEMPTS = 5  # in a row without a byte
PAUSE = 1.0  # seconds before the second attempt; doubles with each


class Source(Protocol):
    """Bytes that can be read from anywhere within: a file on the hub, or one on disk."""

    @property
    def name(self) -> str:
        """Where it is, for people."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Blocks of the bytes from `start` up to `stop`."""


@dataclass(frozen=True)
class LocalFile:
    """A file on disk."""

    name: str
    size: int

    @classmethod
    def at(cls, path: Path) -> LocalFile:
        """The file at a path."""
        return cls(str(path), path.stat().st_size)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Blocks of the bytes from `start` up to `stop`."""
        with Path(self.name).open("rb") as file:
            file.seek(start)
            while start < stop and (block := file.read(min(BLOCK, stop - start))):
                start += len(block)
                yield block


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        name: where it is, for people.
        url: where to ask for it; the hub redirects to its storage.
        size: in bytes.
        etag: changes with the content; for large files it is the sha256.
    """

    name: str
    url: str
    size: int
    etag: str

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Blocks of the bytes from `start` up to `stop`; a broken connection is taken up again.

        Raises:
            WeightsError: if the server refuses, or several attempts in a row bring nothing.
        """
        from huggingface_hub.errors import HfHubHTTPError

        failures = 0
        while start < stop:
            try:
                before = start
                for block in self._request(start, stop):
                    start += len(block)
                    failures = 0
                    yield block
                if start == before:
                    raise ConnectionError("the server sent nothing")
            except WeightsError:
                raise
            except Exception as error:  # the client's errors have no common base
                failures += 1
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
                refused = 400 <= status < 500 and status not in (408, 429)
                if refused or failures == ATTEMPTS:
                    raise WeightsError(
                        f"{self.name}: the download broke off after {start:,} of {stop:,} bytes "
                        f"({_first_line(error)}); what came is kept: repeat the command to go on, "
                        "or get the file by hand and give it with path="
                    ) from error
                time.sleep(PAUSE * 2 ** (failures - 1))

    def _request(self, start: int, stop: int) -> Iterator[bytes]:
        """One attempt at the bytes from `start` up to `stop`."""
        from huggingface_hub import get_session, hf_raise_for_status
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = build_hf_headers() | {
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
        }
        with get_session().stream(
            "GET", self.url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT
        ) as response:
            hf_raise_for_status(response)
            position = start if response.status_code == 206 else 0
            total = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
            if total and int(total[1]) != self.size:
                raise WeightsError(
                    f"{self.name}: the server now has {int(total[1]):,} bytes, expected "
                    f"{self.size:,}; the file was changed meanwhile. Repeat the command"
                )
            for block in response.iter_bytes():  # unchunked: a cut loses nothing
                # A server that ignores the range sends all from the beginning.
                wanted = block[max(0, start - position) : max(0, stop - position)]
                position += len(block)
                if wanted:
                    yield wanted
                if position >= stop:
                    return


def find_remote(repo: str, repo_type: str, names: tuple[str, ...]) -> RemoteFile:
    """The first of some files that a repository of the hub has.

    Args:
        repo: owner/name.
        repo_type: "model" or "dataset".
        names: files, the best first.

    Raises:
        WeightsError: if there is none, or the hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        url = hf_hub_url(repo, name, repo_type=repo_type)
        try:
            about = get_hf_file_metadata(url)
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client's errors have no common base
            raise WeightsError(
                f"{url}: cannot be reached ({_first_line(error)}); check the network, set "
                "HTTPS_PROXY or HF_ENDPOINT (a mirror) if you need one, or get the file by hand "
                "and give it with path="
            ) from error
        if about.size is None or about.etag is None:
            raise WeightsError(
                f"{url}: the server does not tell the file's size and mark; expected a mirror of "
                "the Hugging Face hub. Set HF_ENDPOINT to another one, or unset it"
            )
        return RemoteFile(f"{repo}/{name}", url, about.size, about.etag)
    raise WeightsError(
        f"{repo}: has none of {', '.join(names)}; its publisher may have moved them. Get the file "
        "by hand and give it with path="
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def partial_path(target: Path, etag: str) -> Path:
    """Where the beginning of a download is kept; another content has another place."""
    mark = re.sub(r"\W", "", etag)[:32]
    return target.with_name(f".{target.name}.{mark}.partial")


def fill(
    partial: Path, size: int, blocks: Callable[[int], Iterator[bytes]], title: str, command: str
) -> None:
    """Append to a partial file until it is whole.

    Args:
        partial: what an earlier, interrupted call left, or no file yet.
        size: of the whole.
        blocks: given how many bytes are there, brings the others.
        title: for the progress bar.
        command: what a user repeats after mending a failure.

    Raises:
        WeightsError: if the disk has no room; what came is kept.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    done = partial.stat().st_size if partial.exists() else 0
    require_space(partial.parent, size - done, command)
    try:
        with (
            partial.open("ab") as file,
            tqdm(desc=title, total=size, initial=done, unit="B", unit_scale=True) as bar,
        ):
            for block in blocks(done):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WeightsError(
            f"{partial}: writing failed ({error.strerror}); what came is kept. Make room for "
            f"{size / 1e9:.1f} GB and repeat: {command}"
        ) from error
    found = partial.stat().st_size
    if found != size:
        partial.unlink()
        raise WeightsError(
            f"{title}: {found:,} bytes came, expected {size:,}; they were deleted. "
            f"Repeat: {command}"
        )


def fetch_whole(remote: RemoteFile, partial: Path, command: str) -> None:
    """Get a whole file, going on where an earlier call ended, and check its hash.

    Raises:
        WeightsError: if the connection or the disk fails, or other bytes came than were published.
    """
    fill(partial, remote.size, lambda done: remote.read(done, remote.size), remote.name, command)
    if re.fullmatch(r"[0-9a-f]{64}", remote.etag):
        found = file_sha256(partial)
        if found != remote.etag:
            partial.unlink()
            raise WeightsError(
                f"{remote.name}: the bytes that came have sha256 {found}, expected "
                f"{remote.etag}; they were deleted. Repeat: {command}"
            )


def require_space(folder: Path, needed: int, command: str) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        WeightsError: if fewer than `needed` bytes, and a reserve, are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise WeightsError(
            f"{folder}: {free / 1e9:.2f} GB are free on this disk, expected "
            f"{(needed + RESERVE) / 1e9:.2f} GB. Make room and repeat: {command}"
        )
