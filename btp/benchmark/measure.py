"""Measuring time and memory of a piece of work, and naming the machine."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from btp.runtime.threads import core_count

A = TypeVar("A")
B = TypeVar("B")

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured(Generic[A]):
    """What one side of a row took: seconds, memory, and the value it gave.

    Attributes:
        seconds: median of the runs.
        cpu_seconds: the same of the processor's time, all threads together: what other work on the
            machine hardly changes.
        runs: number of them.
        megabytes: most memory in use above that before the work; on CUDA the device's. None where
            the system does not tell (it does on Linux).
        value: what the work gave.
    """

    seconds: float
    cpu_seconds: float
    runs: int
    megabytes: float | None
    value: A


@contextmanager
def as_installed() -> Iterator[None]:
    """Let PyTorch multiply as it comes, whatever `btp.runtime.processor` has set."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "none"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def measure(work: Callable[[], A], repeats: int, device: str = "cpu") -> Measured[A]:
    """Measure a piece of work, run `repeats` times."""
    return _summary([_run(work, device) for _ in range(repeats)])


def measure_both(
    plain: Callable[[], A], ours: Callable[[], B], repeats: int, device: str = "cpu"
) -> tuple[Measured[A], Measured[B]]:
    """Measure two pieces of work in turns, so that other work on the machine burdens both alike."""
    runs = [(_run(plain, device), _run(ours, device)) for _ in range(repeats)]
    return _summary([a for a, _ in runs]), _summary([b for _, b in runs])


def _summary(runs: Sequence[Measured[A]]) -> Measured[A]:
    memory = [run.megabytes for run in runs if run.megabytes is not None]
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_seconds for run in runs),
        len(runs),
        max(memory) if memory else None,
        runs[-1].value,
    )


def _run(work: Callable[[], A], device: str) -> Measured[A]:
    on_cuda = device.startswith("cuda")
    before = _begin(on_cuda)
    start, cpu_start = time.perf_counter(), time.process_time()
    value = work()
    if on_cuda:
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    return Measured(seconds, cpu, 1, _peak(on_cuda, before), value)


def _begin(on_cuda: bool) -> float | None:
    """Forget the peak of memory so far, and return what is in use now, in bytes."""
    gc.collect()
    if on_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    try:
        # Freed memory that the allocator keeps would hide what the work asks for.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to what is resident now
        return _status("VmRSS")
    except (OSError, AttributeError):
        return None


def _peak(on_cuda: bool, before: float | None) -> float | None:
    if before is None:
        return None
    peak = float(torch.cuda.max_memory_allocated()) if on_cuda else _status("VmHWM")
    return max(0.0, peak - before) / 1e6


def _status(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024.0 * int(line.split()[1])
    raise OSError(f"{_STATUS}: no {name}")


def machine(device: str) -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, threads, versions, GPU or None."""
    on_cuda = device.startswith("cuda")
    return {
        "processor": _processor(),
        "cores": core_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if on_cuda else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
