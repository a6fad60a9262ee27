"""Read parts of large files on disk or on the Hugging Face hub, in spite of interruptions.

The hub's own client finds files and brings proxies, mirrors (HF_ENDPOINT) and tokens; the bytes are
read here because it keeps nothing of an interrupted download and cannot get a part of a file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from btp.errors import WeightsError

BLOCK = 1 << 20  # bytes
ATTEMPTS = 5  # in a row without a byte
PAUSE = 1.0  # seconds before the second attempt; doubles with each


class Source(Protocol):
    """A file whose bytes can be read from any position: on the hub, or on disk."""

    @property
    def name(self) -> str:
        """Return where the file is, for people."""

    @property
    def size(self) -> int:
        """Return the size in bytes."""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop` in blocks."""


@dataclass(frozen=True)
class LocalFile:
    """A file on disk."""

    name: str
    size: int

    @classmethod
    def at(cls, path: Path) -> LocalFile:
        """Take the file at a path, with its present size."""
        return cls(str(path), path.stat().st_size)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop` in blocks."""
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
        """Yield the bytes from `start` up to `stop` in blocks; resume after a broken connection.

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
        """Make one attempt at the bytes from `start` up to `stop`."""
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
    """Find the first of several files that a repository on the hub has.

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
