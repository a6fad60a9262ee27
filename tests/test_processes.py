"""Worker processes, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from btp.runtime.processes import map_in_workers

PARENT = """
import os, signal
from btp.runtime.processes import worker_pool

if __name__ == "__main__":
    pool = worker_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_in_workers(abs, [-3, 1, -2], workers)) == [3, 1, 2]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_workers_of_a_killed_process_end(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(repository)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        worker = Path("/proc") / parent.stdout.readline().strip()
        assert (worker / "exe").exists()
        parent.send_signal(signal.SIGKILL)
    while (worker / "exe").exists():  # for ever, if it does not end
        time.sleep(0.01)
