"""Write the viewer's page: scans, program and 3D library in one file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import btp
from btp.drawing.theme import COLOURS
from btp.drawing.viewer.encoding import encode
from btp.drawing.viewer.scan import ViewedScan
from btp.errors import DataError
from btp.runtime.files import write_atomically

MAX_POINTS = 20_000
LIBRARY = "vendor/three-0.187.0.min.js"


def write_viewer(
    path: Path, scans: Iterable[ViewedScan], title: str, max_points: int = MAX_POINTS
) -> None:
    """Write an HTML file that shows scans from all sides, without a network.

    `#scan=NAME` behind the file's address (percent-encoded) opens it at that scan.

    Args:
        path: of the file.
        scans: at least one, all with the same detectors. They are taken one by one, so that a
            generator may make them as they go: only what the page shows is kept of each.
        title: of the page.
        max_points: of a scan with more points, so many are shown: the highest scores, and an even
            choice of the others. The page says so.

    Raises:
        DataError: if there is no scan, a scan's arrays do not fit together or its detectors are
            others, or the file cannot be written. Nothing half-written is left.
    """
    about: list[dict[str, Any]] = []
    contents: list[str] = []
    for scan in scans:
        encoded = encode(scan, max_points)
        about.append(encoded.about)
        contents.append(encoded.content)
        expected = list(about[0]["detectors"])
        if list(scan.scores) != expected:
            raise DataError(
                f"{scan.name}: detectors {list(scan.scores)}; expected {expected}, those of "
                f"{about[0]['name']}: give every scan the same ones in the same order"
            )
    if not about:
        raise DataError(f"{path}: no scan to show; expected one at least")
    page = {"title": title, "colours": COLOURS, "version": btp.__version__, "scans": about}

    def write(file: IO[bytes]) -> None:
        before, after = _shell(title, page).split("<!--scans-->")
        file.write(before.encode())
        for number, content in enumerate(contents):
            line = f'<script type="text/plain" id="scan-{number}">{content}</script>\n'
            file.write(line.encode())
        file.write(after.encode())

    write_atomically(Path(path), write)


def _shell(title: str, page: dict[str, Any]) -> str:
    """Return the page with the mark `<!--scans-->` in the place of the scans' points."""
    root = files("btp.drawing.viewer")
    modules = {"three": (root / LIBRARY).read_text("utf-8")}
    for script in sorted((root / "web").iterdir(), key=lambda entry: entry.name):
        if script.name.endswith(".js"):
            name = f"viewer/{script.name.removesuffix('.js')}"
            modules[name] = f"{script.read_text('utf-8')}\n//# sourceURL={name}.js\n"
    # In base64 no script can end the element that it stands in.
    addresses = {
        name: f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode('ascii')}"
        for name, text in modules.items()
    }
    filled = {
        "title": html.escape(title),
        "style": (root / "web/style.css").read_text("utf-8"),
        "modules": json.dumps({"imports": addresses}),
        "licence": (root / "vendor/LICENSE").read_text("utf-8").strip(),
        "page": _embeddable(page),
    }
    shell = (root / "web/index.html").read_text("utf-8")
    for name, text in filled.items():  # the title comes first: what it holds is not a mark
        shell = shell.replace(f"<!--{name}-->", text)
    return shell


def _embeddable(value: Any) -> str:
    """Encode a value as JSON in which no character has a meaning in HTML."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
