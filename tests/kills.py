"""Scripts in processes that are killed on purpose, and what they leave in their folder.

A process that has imported the project forks one for each script, so that a start takes no time.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate"}
LEFT_OUT = ("*.lock", "events.out.tfevents.*")  # held while a process runs; they hold times
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Job:
    """A script that runs.

    Attributes:
        starter: that started it.
        pid: of its process.
        log: path of what it prints.
    """

    starter: Starter
    pid: int
    log: Path

    def wait(self) -> int:
        """Its exit code, or `KILLED`."""
        return int(self.starter.ask({"wait": self.pid}))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    @property
    def changes(self) -> int:
        """How often a script that has ended changed a file of its project."""
        return int(self.log.with_suffix(".changes").read_text())


class Starter:
    """A process that has imported the project, and starts scripts by forking."""

    def __init__(self, process: subprocess.Popen, logs: Path) -> None:
        self.process, self.logs, self.started = process, logs, 0

    def ask(self, request: dict[str, Any]) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def start(self, project: Path, *words: str, kill_at: int = 0, hub: str = "") -> Job:
        """Start a script.

        Args:
            project: its working folder.
            words: its name in scripts/, and its settings.
            kill_at: number of the change to a file of the project just before which the script is
                killed; 0 for none.
            hub: address of a fake hub, for the weights.
        """
        self.started += 1
        log = self.logs / f"{self.started}.log"
        request = {"project": str(project), "words": words, "log": str(log)}
        return Job(self, int(self.ask(request | {"kill_at": kill_at, "hub": hub})), log)

    def run(self, project: Path, *words: str, hub: str = "") -> Job:
        """Run a script to its end, which must not be an error."""
        job = self.start(project, *words, hub=hub)
        code = job.wait()
        assert code in (0, 3), f"{' '.join(words)}: {code}\n{job.log.read_text()}"
        return job


@contextmanager
def starter(logs: Path) -> Iterator[Starter]:
    """A starter whose scripts print into files of a folder."""
    paths = os.pathsep.join([str(ROOT), str(TESTS)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1,localhost"}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Starter(process, logs)
        assert process.stdin is not None
        process.stdin.close()


def contents(folder: Path) -> dict[str, bytes]:
    """What a run must repeat: the bytes of all files below a folder, except locks and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(path.match(pattern) for pattern in LEFT_OUT):
            found[str(path.relative_to(folder))] = _without_times(path)
    return found


def _without_times(path: Path) -> bytes:
    if not path.name.endswith(".safetensors.json"):
        return path.read_bytes()
    record = json.loads(path.read_text())  # of a weight file, with the time of its last check
    return json.dumps({k: v for k, v in record.items() if k != "modified"}).encode()


def wait_for(path: Path, job: Job) -> None:
    """Wait until a file is there, or the job has ended."""
    while not path.exists() and Path(f"/proc/{job.pid}/exe").exists():
        time.sleep(0.002)


def _serve() -> None:
    """Start and await scripts, as asked line by line."""
    from importlib import import_module

    for name in ("calibrate", "eval", "predict", "prepare", "pretrain", "synthesize", "train"):
        import_module(f"btp.commands.{name}")
    for name in ("torch.utils.tensorboard", "matplotlib.pyplot", "huggingface_hub", "trimesh"):
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _run(request)
        print(answer, flush=True)


def _run(request: dict[str, Any]) -> None:
    """Be the script; never returns."""
    log, code = Path(request["log"]), 1
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    project, (script, *settings) = Path(request["project"]), request["words"]
    try:
        os.chdir(project)
        _set_up(project, request["hub"])
        sys.argv = [f"scripts/{script}", *settings]
        changes = _count_changes(project, request["kill_at"])
        try:
            runpy.run_path(f"scripts/{script}", run_name="__main__")
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        log.with_suffix(".changes").write_text(str(len(changes)))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _set_up(project: Path, hub: str) -> None:
    from btp.commands import config_files
    from btp.pretraining.corpus import shards

    config_files.CONFIGS = project / "configs"
    shards.SHARD = 4
    if hub:
        from huggingface_hub import constants

        constants.ENDPOINT = hub
        template = hub + "/{repo_id}/resolve/{revision}/{filename}"
        constants.HUGGINGFACE_CO_URL_TEMPLATE = template


def _count_changes(project: Path, kill_at: int) -> list[str]:
    """Note each change to a file of the project, and kill this process just before one."""
    changes: list[str] = []

    def note(event: str, given: tuple) -> None:
        if event == "open":
            path, _, flags = given
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in CHANGES:
            path = given[1] if event in ("os.rename", "os.link") else given[0]
        else:
            return
        if isinstance(path, int):
            return
        place = os.path.join(project, os.fsdecode(path))  # noqa: PTH118 (of a hook, so quick)
        if place.startswith(f"{project}/"):
            changes.append(event)
            if len(changes) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    return changes


if __name__ == "__main__":
    _serve()
