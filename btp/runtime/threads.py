"""Threads that share the machine: its cores among searches, its memory among large scans."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

BYTES_IN_WORK = 200_000_000
"""Bytes of the files of scans in work together, or one scan where it is larger. At its peak a scan
takes 6 times its binary file, or twice its text file: so together they take 1.2 GB at most."""

_lock = threading.Lock()
_searching = 0


def core_count() -> int:
    """Count the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: containers and taskset count
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def shared_cores() -> Iterator[int]:
    """Give a search its number of threads: all cores, divided by the searches running now.

    A nearest-neighbour search takes every core when it is alone, and one when each core already has
    a search of its own, so that a pool of readers does not start cores × cores threads.
    """
    global _searching
    with _lock:
        _searching += 1
        share = max(1, core_count() // _searching)
    try:
        yield share
    finally:
        with _lock:
            _searching -= 1


def map_shared(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Do short work in threads, on as many cores as `shared_cores` gives, and keep its order."""
    with shared_cores() as share:
        workers = min(share, len(items))
    if workers < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def map_within(
    work: Callable[[A], B],
    items: Sequence[A],
    sizes: Sequence[int],
    limit: int,
    workers: int,
) -> Iterator[B]:
    """Work on items in threads, never on more at a time than the limit lets in.

    Args:
        work: done once an item.
        items: begun in their order.
        sizes: of each item, in any unit.
        limit: of the sizes in work together. An item above it is worked on alone.
        workers: most threads.

    Yields:
        What `work` returned, in the order of the items.

    Raises:
        Exception: the first that `work` raised, in the order of the items; those not begun are left
            out.
    """
    pool = ThreadPoolExecutor(workers)
    begun: list[Future[B]] = []
    running: dict[Future[B], int] = {}
    given = 0
    try:
        for item, size in zip(items, sizes, strict=True):
            while running and (len(running) >= workers or sum(running.values()) + size > limit):
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[done]
            future = pool.submit(work, item)
            begun.append(future)
            running[future] = size
            while given < len(begun) and begun[given].done():
                yield begun[given].result()
                given += 1
        for future in begun[given:]:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
