"""Read scans ahead of the scorer and write results behind it, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from btp.runtime.processes import worker_pool
from btp.runtime.progress import Progress
from btp.runtime.threads import core_count

T = TypeVar("T")


def work_ahead(
    work: Callable[[Path], T], paths: list[Path], workers: int | None, title: str = "scoring"
) -> Iterator[tuple[Path, Future[T]]]:
    """Yield each path with its work, in order, while threads begin the next few.

    Args:
        work: done once for each path.
        paths: at most `workers` and one more are in work, or done and not yet taken.
        workers: threads; None for one a core, at most eight.
        title: of the progress shown.
    """
    workers = workers or min(core_count(), 8)
    pending: deque[tuple[Path, Future[T]]] = deque()
    pool = ThreadPoolExecutor(workers)
    bar = Progress(title, len(paths))
    try:
        for path in paths:
            pending.append((path, pool.submit(work, path)))
            if len(pending) > workers:
                yield pending.popleft()
                bar.update()
        while pending:
            yield pending.popleft()
            bar.update()
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def writer_pool(count: int) -> Executor:
    """Start `count` processes, because Matplotlib draws in one thread of a process at a time.

    A single one is a thread of this process.
    """
    return ThreadPoolExecutor(1) if count == 1 else worker_pool(count)


def lag_behind(futures: Iterator[Future[T]], count: int) -> Iterator[Future[T]]:
    """Yield each future once `count` later ones have begun, so that their work overlaps."""
    waiting: deque[Future[T]] = deque()
    for future in futures:
        waiting.append(future)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
