"""A headless Chromium, driven over its own pipe (Chrome DevTools Protocol): no further package."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the pages are our own, and CI runs as root
    "--remote-debugging-pipe",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


def chromium() -> str:
    """The browser's path; skips the test where there is none, unless BTP_REQUIRE_BROWSER=1."""
    named = os.environ.get("BTP_CHROMIUM")
    path = named or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        reason = f"no Chromium among {', '.join(NAMES)}: install one, or name it in BTP_CHROMIUM"
        if os.environ.get("BTP_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


class Browser:
    """One page of a Chromium of its own. Whatever the page complains of is in `complaints`."""

    def __init__(self, width: int = 1000, height: int = 700) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.buffer = b""
        self.count = 0
        self.session: str | None = None
        self._start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.ours_in, self.ours_out):
            os.close(end)
        self.folder.cleanup()

    def open(self, path: Path, anchor: str = "", timeout: float = 60) -> float:
        """Load a file, wait until it says that it is ready: milliseconds since it was asked for."""
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri() + anchor)
        self.wait_for("document.documentElement?.dataset.ready", timeout)
        return float(self.run("document.documentElement.dataset.ready"))

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout: float = 20) -> None:
        end = time.monotonic() + timeout
        while not self.run(expression):
            assert time.monotonic() < end, (
                f"not so after {timeout} s: {expression} {self.complaints}"
            )
            time.sleep(0.02)

    def picture(self, selector: str | None = None) -> np.ndarray:
        """uint8 [H, W, 3] of the page, or of one element, once the drawing has settled."""
        from PIL import Image

        self.run("new Promise((done) => setTimeout(() => requestAnimationFrame(done), 250))")
        clip = {}
        if selector is not None:
            box = self.run(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
            clip = {"clip": {key: box[key] for key in ("x", "y", "width", "height")} | {"scale": 1}}
        shot = self.call("Page.captureScreenshot", format="png", **clip)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """As a person who has set their system to "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; notes what else the browser tells."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.ours_out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _start(self) -> None:
        theirs_in, self.ours_out = os.pipe()
        self.ours_in, theirs_out = os.pipe()
        command = [chromium(), *FLAGS, f"--user-data-dir={self.folder.name}"]
        # The browser reads commands from descriptor 3 and answers on 4. (Debian's sh cannot copy
        # descriptors of two digits.)
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out):
            os.close(end)

    def _receive(self, timeout: float = 60) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.ours_in], [], [], timeout)
            assert ready, f"Chromium says nothing for {timeout} s"
            content = os.read(self.ours_in, 1 << 20)
            assert content, "Chromium has ended"
            self.buffer += content
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
