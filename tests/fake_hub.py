"""A Hugging Face hub on this machine, as far as its client asks: redirects, ranges, bad days."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FakeHub:
    """Serves `files`, {"/owner/name/resolve/main/file": content}.

    Attributes:
        requested: (start, sent) of every answer with content.
        cut: bytes after which a longer answer breaks off.
        cuts: how many answers break off; later ones are whole.
        down_after: bytes in all after which every connection is closed at once.
        ranges: whether ranges are honoured.
        etags: marks that differ from the content's true sha256.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | memoryview] = {}
        self.etags: dict[str, str] = {}
        self.requested: list[tuple[int, int]] = []
        self.cut, self.cuts = 0, 0
        self.down_after = 1 << 40
        self.ranges = True
        self.address = ""

    @property
    def sent(self) -> int:
        return sum(size for _, size in self.requested)

    def add(self, repo: str, name: str, content: bytes | memoryview) -> None:
        self.files[f"/{repo}/resolve/main/{name}"] = content

    def answer(self, request: BaseHTTPRequestHandler, head: bool) -> None:
        path = request.path.removeprefix("/cdn")
        content = self.files.get(path)
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif path == request.path:
            self._redirect(request, path, content)
        else:
            self._send(request, content, head)

    def _redirect(
        self, request: BaseHTTPRequestHandler, path: str, content: bytes | memoryview
    ) -> None:
        """To the storage, which is another host, as on the hub."""
        etag = self.etags.get(path) or hashlib.sha256(content).hexdigest()
        request.send_response(302)
        request.send_header(
            "Location", f"{self.address.replace('127.0.0.1', 'localhost')}/cdn{path}"
        )
        request.send_header("X-Linked-Etag", f'"{etag}"')
        request.send_header("X-Linked-Size", str(len(content)))
        request.send_header("X-Repo-Commit", "0" * 40)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _send(
        self, request: BaseHTTPRequestHandler, content: bytes | memoryview, head: bool
    ) -> None:
        asked = re.match(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        start, stop = 0, len(content)
        if asked and self.ranges:
            start, stop = int(asked[1]), min(int(asked[2]) + 1, stop)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(stop - start))
        request.end_headers()
        if head:
            return
        body = content[start:stop]
        if self.cuts > 0 and len(body) > self.cut:
            self.cuts -= 1
            body = body[: self.cut]
        body = body[: max(0, self.down_after - self.sent)]
        self.requested.append((start, len(body)))
        request.wfile.write(body)
        if len(body) < stop - start:
            request.wfile.flush()
            request.close_connection = True


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.answer(self, head=False)

        def do_HEAD(self) -> None:
            hub.answer(self, head=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients hang up in the middle when they have what they want

    server = Server(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hub_in_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake hub, and this process's client asking it instead of the real one."""
    import huggingface_hub
    from huggingface_hub import constants

    import btp.weights.sources

    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(btp.weights.sources, "PAUSE", 0.0)
    with serve(FakeHub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()
