"""Worker processes that end with the process that started them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def worker_pool(count: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Start worker processes that end as soon as this process does, even if it is killed.

    Args:
        count: of processes.
        begin: called once in each of them; importable by its name.
    """
    # spawned, not forked: a fork copies the locks of torch's threads
    context = get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(begin,))


def map_in_workers(
    work: Callable[[A], B],
    items: Iterable[A],
    workers: int,
    begin: Callable[[], object] | None = None,
) -> Iterator[B]:
    """Work on items in worker processes, and yield the results in the order of the items.

    Args:
        work: done once an item; importable by its name.
        items: sent to the workers.
        workers: processes; with 1 everything is done in this one.
        begin: called once in each worker process, not in this one.
    """
    if workers == 1:
        yield from map(work, items)
        return
    with worker_pool(workers, begin) as pool:
        yield from pool.map(work, items)


def _begin(begin: Callable[[], object] | None) -> None:
    # A worker of a killed process would otherwise wait for its next task for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
