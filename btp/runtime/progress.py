"""Show how far a job is: a bar with the time left on a terminal, one line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """Counts what is done of a job, and shows it on standard error.

    On a terminal that is a bar with the number of items and the time left. Elsewhere, as in the
    log of a cluster's job, it is one line when the job ends or stops.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "scan",
        first: int = 0,
        show: bool = True,
        passing: bool = False,
    ) -> None:
        """Begin to count.

        Args:
            title: names the job.
            total: number of items.
            unit: what an item is.
            first: items that were done before.
            show: False shows nothing; a job without items shows nothing either.
            passing: leave no trace of a job that may be found done: no bar on a terminal when it
                ends, and elsewhere no line if it took less than a second.
        """
        self.title, self.total, self.unit = title, total, unit
        self._first, self._done, self._values = first, first, ""
        self._started = time.monotonic()
        self._passing = passing
        shown, terminal = show and first < total, sys.stderr.isatty()
        self._line = shown and not terminal
        self._bar = tqdm(
            desc=title,
            total=total,
            unit=f" {unit}s",
            initial=first,
            leave=not passing,
            disable=not (shown and terminal),
        )

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the job, finished or not."""
        self.close()

    def update(self, count: int = 1, **values: str) -> None:
        """Count items as done.

        Args:
            count: how many.
            **values: shown behind the count, such as loss="0.5".
        """
        self._done += count
        self._values = "".join(f", {name} {value}" for name, value in values.items())
        if values:
            self._bar.set_postfix(values, refresh=False)
        self._bar.update(count)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, and count each as done once the next is asked for."""
        with self:
            for item in items:
                yield item
                self.update()

    def print(self, text: str) -> None:
        """Print a line on standard output, above the bar."""
        tqdm.write(text, file=sys.stdout)

    def close(self) -> None:
        """End the job; a second time does nothing."""
        self._bar.close()
        if self._line:
            self._line = False
            seconds = time.monotonic() - self._started
            if self._passing and seconds < 1:
                return
            done = f"{self._done:,}"
            if self._done < self.total:
                done += f" of {self.total:,}"
            unit = self.unit if self._done == self.total == 1 else f"{self.unit}s"
            print(
                f"{self.title}: {done} {unit} in {seconds:.0f} s{self._values}",
                file=sys.stderr,
                flush=True,
            )
