"""Rows of the benchmark's table: both sides, their ratio, and the goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from btp.benchmark.measure import Measured


@dataclass(frozen=True)
class Goal:
    """The figures that a row is to reach; None where nothing is asked for.

    Attributes:
        ratio: so many times faster than the plain way.
        memory: at most this share of its memory.
        seconds: at most.
        megabytes: at most.
        rate: at least so many a second.
        on_gpu: only a GPU is asked to reach it.
    """

    ratio: float | None = None
    memory: float | None = None
    seconds: float | None = None
    megabytes: float | None = None
    rate: float | None = None
    on_gpu: bool = False

    def __str__(self) -> str:
        parts = [
            (self.ratio, f"≥ {_short(self.ratio)}×"),
            (self.memory, f"≤ 1/{_short(1 / self.memory if self.memory else None)} memory"),
            (self.seconds, f"≤ {_seconds(self.seconds)}"),
            (self.megabytes, f"≤ {_megabytes(self.megabytes)}"),
            (self.rate, f"≥ {_short(self.rate)}/s"),
        ]
        text = ", ".join(text for value, text in parts if value is not None)
        return f"GPU: {text}" if self.on_gpu else text


@dataclass(frozen=True)
class Row:
    """One line of the table: the same result, found in two ways.

    Attributes:
        section: of the benchmark.
        what: is computed.
        plain, ours: seconds, None where not measured.
        plain_mb, ours_mb: peak memory, None where not measured.
        plain_cpu, ours_cpu: seconds of the processor, all threads together.
        runs: of the side that ran less often; the figures are medians.
        goal: to be reached.
        gpu: was measured on one.
        rate: ours, clouds a second.
        difference: between the results, in the unit of `tolerance`; None where nothing is compared.
        tolerance: above it the row holds no ratio and fails.
        note: what was scaled, and how.
    """

    section: str
    what: str
    plain: float | None = None
    ours: float | None = None
    plain_mb: float | None = None
    ours_mb: float | None = None
    plain_cpu: float | None = None
    ours_cpu: float | None = None
    runs: int = 0
    goal: Goal | None = None
    gpu: bool = False
    rate: float | None = None
    difference: float | None = None
    tolerance: float | None = None
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether both sides found the same result, within the tolerance."""
        if self.difference is None or self.tolerance is None:
            return True
        return self.difference <= self.tolerance

    @property
    def ratio(self) -> float | None:
        """How many times faster our side is; None where the results differ."""
        if not self.equal or self.plain is None or not self.ours:
            return None
        return self.plain / self.ours

    @property
    def memory_share(self) -> float | None:
        """Our memory as a share of the plain way's; None where the results differ."""
        if not self.equal or self.ours_mb is None or not self.plain_mb:
            return None
        return self.ours_mb / self.plain_mb

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal, or where it was not measured."""
        goal = self.goal
        if goal is None or (goal.on_gpu and not self.gpu) or self.ours is None:
            return None
        if not self.equal:
            return False
        pairs = [
            (_negative(goal.ratio), _negative(self.ratio)),
            (goal.memory, self.memory_share),
            (goal.seconds, self.ours),
            (goal.megabytes, self.ours_mb),
            (_negative(goal.rate), _negative(self.rate)),
        ]
        wanted = [(limit, found) for limit, found in pairs if limit is not None]
        if any(found is None for _, found in wanted):
            return None
        return all(found is not None and found <= limit for limit, found in wanted)


def row(
    section: str,
    what: str,
    plain: Measured[Any] | None,
    ours: Measured[Any],
    *,
    plain_times: float = 1.0,
    our_times: float = 1.0,
    our_extra: float = 0.0,
    device: str = "cpu",
    **about: Any,
) -> Row:
    """Make a row from what was measured.

    Args:
        section: of the benchmark.
        what: is computed.
        plain: None where there is no other way.
        ours: the way of this project.
        plain_times: the figure is so many times the measured seconds.
        our_times: the same for ours.
        our_extra: seconds added to ours, for what is done once; to those of the processor too.
        device: it ran on.
        **about: other fields of the row.
    """
    return Row(
        section=section,
        what=what,
        plain=None if plain is None else plain.seconds * plain_times,
        ours=ours.seconds * our_times + our_extra,
        plain_mb=None if plain is None else plain.megabytes,
        ours_mb=ours.megabytes,
        plain_cpu=None if plain is None else plain.cpu_seconds * plain_times,
        ours_cpu=ours.cpu_seconds * our_times + our_extra,
        runs=ours.runs if plain is None else min(plain.runs, ours.runs),
        gpu=device.startswith("cuda"),
        **about,
    )


@dataclass(frozen=True)
class Growth:
    """A table of how cost grows with one size."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[float | int | None, ...], ...]


def heading(machine: dict[str, Any]) -> str:
    """Print the machine as one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None)


def table_of(rows: Sequence[Row]) -> str:
    """Print rows as a Markdown table, with their notes below it."""
    titles = ("what", "plain", "ours", "ratio", "plain memory", "our memory", "goal", "reached")
    lines = [f"| {' | '.join(titles)} |", f"|---|{'--:|' * (len(titles) - 1)}"]
    notes = []
    for each in rows:
        mark = ""
        note = _note(each)
        if note:
            notes.append(note)
            mark = f" [{len(notes)}]"
        lines.append(f"| {each.section}: {each.what}{mark} | {' | '.join(_cells(each))} |")
    return "\n".join([*lines, "", *(f"[{i}] {note}" for i, note in enumerate(notes, 1))])


def growth_of(table: Growth) -> str:
    """Print a table of growth as Markdown."""
    lines = [f"**{table.title}**", "", f"| {' | '.join(table.columns)} |"]
    lines.append(f"|{'--:|' * len(table.columns)}")
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, line))} |" for line in table.lines)])


def _cells(each: Row) -> list[str]:
    ours = _seconds(each.ours)
    if each.rate is not None:
        ours += f" ({_short(each.rate)}/s)"
    ratio = f"{_short(each.ratio)}×" if each.ratio is not None else "–"
    if not each.equal:
        ratio = "results differ"
    plain = "–" if each.plain is None else _seconds(each.plain)
    plain_mb = "–" if each.plain is None else _megabytes(each.plain_mb)
    reached = {None: "–", True: "yes", False: "no"}[each.reached]
    if each.goal is not None and each.reached is None:
        reached = "not measured"
    goal = "–" if each.goal is None else str(each.goal)
    our_mb = "–" if each.ours is None else _megabytes(each.ours_mb)
    return [plain, ours, ratio, plain_mb, our_mb, goal, reached]


def _note(each: Row) -> str:
    parts = [each.note] if each.note else []
    if each.difference is not None:
        limit = "" if each.tolerance is None else f" (at most {each.tolerance:.0e})"
        parts.append(f"results differ by {each.difference:.1e}{limit}")
    if each.plain_cpu is not None and each.ours_cpu and each.equal:
        ratio = _short(each.plain_cpu / each.ours_cpu)
        sides = f"{_seconds(each.plain_cpu)} and {_seconds(each.ours_cpu)}"
        parts.append(f"processor time {sides}, {ratio}×")
    if each.ours is not None:
        parts.append(f"runs: {each.runs}")
    return "; ".join(parts)


def as_dict(each: Row) -> dict[str, Any]:
    """Return a row as JSON-able values, with what follows from its figures."""
    derived = {
        "ratio": each.ratio,
        "memory_share": each.memory_share,
        "equal": each.equal,
        "reached": each.reached,
    }
    goal = None if each.goal is None else str(each.goal)
    return asdict(each) | derived | {"goal": goal}


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def _megabytes(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f} MB"


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _cell(value: float | int | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:,}" if isinstance(value, int) else _short(value)
