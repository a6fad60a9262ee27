"""Scripts that are killed at any moment and started again leave what an undisturbed run leaves."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, serve
from kills import KILLED, Starter, contents, starter, wait_for
from published import publish
from small_project import make_small_project

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="forks, and looks into /proc"
)
MINI = "detector=checkpoints/mini/detector.safetensors"
COMMANDS = {
    "prepare": ("prepare.py",),
    "train": ("train.py", "train_cat=gear", "recipe.epochs=22"),
    "eval": ("eval.py", "run_missing=true", "table=2", "seeds=1", "pictures=2"),
    "predict": ("predict.py", "input=scans", "out=out", "coverage=sampled", MINI),
    "calibrate": ("calibrate.py", "normal=good_scans", "coverage=sampled", "out=a.json", MINI),
    "synthesize": ("synthesize.py", "source=my_meshes", "out=made"),
    "pretrain": ("pretrain.py", "resume=true"),
    "fetch": ("weights.py", "fetch=ulip2"),
    "convert": ("weights.py", "fetch=ulip2", "convert=best.pth", "train_cat=car"),
}
FEW = {"predict": 2, "train": 2, "fetch": 1, "synthesize": 1}
"""Kills of a usual test run; `pytest -m kills` does the rest."""
LIVES, KILLS = 3, 4
"""How often each command begins anew, and is killed before it may end."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with starter(tmp_path_factory.mktemp("logs")) as started:
        yield started


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    root = tmp_path_factory.mktemp("template") / "project"
    make_small_project(repository, root)
    return root


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with serve(FakeHub()) as served:
        publish(served)
        yield served.address


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A fresh copy, always at the same place."""
    return renewed(template, tmp_path / "project")


def renewed(template: Path, project: Path) -> Path:
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(template, project)
    return project


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_killed_command_goes_on(
    name: str, start: Starter, template: Path, project: Path, hub: str
) -> None:
    assert lives(name, start, template, project, hub, 1, FEW[name]) == FEW[name]


@pytest.mark.kills
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_many_times_goes_on(
    name: str, start: Starter, template: Path, project: Path, hub: str
) -> None:
    struck = lives(name, start, template, project, hub, LIVES, KILLS)
    print(f"{name}: {struck} kills")
    assert struck >= LIVES


def lives(
    name: str, start: Starter, template: Path, project: Path, hub: str, times: int, kills: int
) -> int:
    """Kill a command at seeded moments, and compare what it leaves in the end.

    Returns:
        How many kills struck before the command had ended.
    """
    words, rng = COMMANDS[name], random.Random(name)
    began = time.monotonic()
    changes = start.run(project, *words, hub=hub).changes
    seconds = time.monotonic() - began
    undisturbed, struck = contents(project), 0
    for _ in range(times):
        renewed(template, project)
        for number in range(kills):
            if number % 3 < 2:  # just before a change to a file: at the same place every time
                at = rng.randint(1, max(1, changes // kills))
                job = start.start(project, *words, kill_at=at, hub=hub)
            else:
                job = start.start(project, *words, hub=hub)
                time.sleep(rng.uniform(0, seconds))
                job.kill()
            code = job.wait()
            assert code in (0, 3, KILLED), job.log.read_text()
            if code != KILLED:
                break  # it was quicker
            struck += 1
        else:
            start.run(project, *words, hub=hub)
        same(contents(project), undisturbed)
    return struck


def same(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    assert sorted(found) == sorted(wanted)
    assert [name for name in found if found[name] != wanted[name]] == []


@pytest.mark.kills
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("train", "outputs/demo/mini/paper,epochs=22/gear/seed111/resume.pt"),
        ("predict", "out/scores.unfinished.csv"),
        ("predict", "out/0.pcd.regions.json"),
        ("calibrate", "a.safetensors"),
        ("eval", "outputs/demo/mini/paper/gear/seed111/detector.safetensors"),
        ("pretrain", "outputs/pretrain/points.safetensors"),
        ("fetch", "checkpoints/ulip2/text.safetensors.json"),
    ],
)
def test_a_command_killed_when_a_file_appears(
    name: str, pattern: str, start: Starter, template: Path, project: Path, hub: str
) -> None:
    start.run(project, *COMMANDS[name], hub=hub)
    undisturbed = contents(project)
    renewed(template, project)
    job = start.start(project, *COMMANDS[name], hub=hub)
    wait_for(project / pattern, job)
    job.kill()
    assert job.wait() == KILLED, job.log.read_text()
    assert (project / pattern).exists()
    start.run(project, *COMMANDS[name], hub=hub)
    same(contents(project), undisturbed)


@pytest.mark.kills
@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_on_one_folder(
    name: str, start: Starter, template: Path, project: Path, hub: str
) -> None:
    start.run(project, *COMMANDS[name], hub=hub)
    undisturbed = contents(project)
    renewed(template, project)
    jobs = [start.start(project, *COMMANDS[name], hub=hub) for _ in range(2)]
    codes = [job.wait() for job in jobs]
    # synthesize refuses a folder that holds something, and says so
    allowed = (0, 2) if name == "synthesize" else (0, 3)
    assert all(code in allowed for code in codes), [job.log.read_text() for job in jobs]
    assert set(codes) != {2}
    same(contents(project), undisturbed)
