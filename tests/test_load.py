"""Thousands of scans and of runs: memory stays flat, and every file is closed again.

Seconds of the processor are printed and not judged: pytest -s -m load. LOAD_SCANS and LOAD_RUNS ask
for fewer.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_script import run_script
from safetensors import safe_open
from safetensors.torch import save_file
from small_project import make_small_project
from trained import train_tiny

import btp
from btp.data.formats import write_pcd
from btp.inspect.folder import score_folder
from btp.inspect.scan_files import find_scans
from btp.inspect.score_table import ScoreTable
from btp.runtime.files import file_digest

pytestmark = [
    pytest.mark.load,
    pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads /proc"),
]
SCANS = int(os.environ.get("LOAD_SCANS", 10_000))
RUNS = int(os.environ.get("LOAD_RUNS", 1_000))
NAMES = 100_000
KEPT = 4_000
"""Bytes of memory that a scan or run may keep to the end: its line in the results."""
SLACK = 30e6
"""Bytes that come and go with the allocator."""


def in_use() -> tuple[int, int]:
    """Bytes of memory, and open files, of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len([*Path("/proc/self/fd").iterdir()])


def test_many_small_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = btp.load(train_tiny(tmp_path / "detector"))
    folder, out = tmp_path / "scans", tmp_path / "out"
    rng = np.random.default_rng(0)
    for number in range(SCANS):
        points = rng.normal(size=(400, 3))
        write_pcd(folder / f"{number:05d}.pcd", points / np.linalg.norm(points, axis=1)[:, None])
    used: list[tuple[int, int]] = []
    add: Callable[..., None] = ScoreTable.add

    def noted(self: ScoreTable, result: Any) -> None:
        add(self, result)
        used.append(in_use())

    monkeypatch.setattr(ScoreTable, "add", noted)
    began = time.process_time()
    results = score_folder(inspector, find_scans(str(folder)), out, pictures=False, writers=1)
    seconds = time.process_time() - began
    assert not [result.error for result in results if result.error]
    with (out / "scores.csv").open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == SCANS
    half, end = used[SCANS // 2], used[-1]
    print(
        f"{SCANS:,} scans: {1000 * seconds / SCANS:.0f} ms a scan; memory {half[0] / 1e6:.0f} MB "
        f"at half, {end[0] / 1e6:.0f} MB at the end; open files {half[1]}, {end[1]}"
    )
    assert end[0] - half[0] < SLACK + KEPT * SCANS / 2
    assert end[1] - half[1] < 10


def test_a_long_folder_is_listed_without_opening_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(NAMES):
        os.close(os.open(tmp_path / f"{number:06d}.ply", os.O_CREAT))
    monkeypatch.setattr(Path, "open", None)
    began = time.process_time()
    found = find_scans(str(tmp_path), tmp_path / "out")
    print(f"{NAMES:,} names: {time.process_time() - began:.1f} s")
    assert [found.name(path) for path in found.paths[:2]] == ["000000.ply", "000001.ply"]
    assert len(found.paths) == NAMES


def test_many_finished_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    make_small_project(repository, project)
    monkeypatch.chdir(project)
    words = ("recipe=paper", "recipe.epochs=1")
    assert run_script(project, "train.py", "train_cat=gear", *words) == 0
    assert run_script(project, "eval.py", *words) == 0
    (first,) = project.glob("outputs/demo/mini/*/gear/seed111")
    used = []
    for count in (RUNS // 2, RUNS):
        copy_runs(first, count)
        began = time.process_time()
        assert run_script(project, "eval.py", *words) == 0
        used.append(in_use())
        print(f"{count:,} runs: {time.process_time() - began:.1f} s, {used[-1][0] / 1e6:.0f} MB")
    assert used[1][0] - used[0][0] < SLACK + KEPT * RUNS / 2
    assert used[1][1] - used[0][1] < 10


def copy_runs(first: Path, count: int) -> None:
    """Runs of other seeds, with the weights and the figures of the first one."""
    with safe_open(first / "detector.safetensors", framework="pt") as file:
        names = list(file.keys())
        state, header = {name: file.get_tensor(name) for name in names}, file.metadata()
    (kept,) = first.glob("result-*.json")
    record = json.loads(kept.read_text())
    for seed in range(112, 111 + count):
        folder = first.with_name(f"seed{seed}")
        if folder.is_dir():
            continue
        folder.mkdir()
        text = {name: value.replace("111", str(seed)) for name, value in header.items()}
        save_file(state, folder / "detector.safetensors", text)
        digest = file_digest(folder / "detector.safetensors")
        changed = record | {"seed": seed, "detector": digest}
        (folder / kept.name).write_text(json.dumps(changed) + "\n")
        for picture in first.glob("*.png"):
            shutil.copy(picture, folder)
