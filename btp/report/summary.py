"""From results to a report: tables printed, and as files for people, papers and programs."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from btp.errors import ConfigError, DataError
from btp.files import write_text
from btp.report.evidence import Evidence
from btp.report.paper_tables import tables_of
from btp.report.provenance import explain
from btp.report.scoring import title_of
from btp.report.tables import Result, Table, every_metric
from btp.report.typeset import latex, markdown, page, pictures_html, to_csv, to_html

# Results are averaged only if they agree in all of these.
SETTINGS = (
    "recipe",
    "n_points",
    "sampling_seed",
    "encoder_fingerprint",
    "text_fingerprint",
    "bfloat16",
    "thresholds",
    "scans",
)


@dataclass(frozen=True)
class Section:
    """The part of a report on one recipe.

    Attributes:
        evidence: its results.
        tables: every metric first, then the paper's tables that the results allow.
        gaps: what each of Tables 1-5 lacks, and the command that makes it.
    """

    evidence: Evidence
    tables: Sequence[Table]
    gaps: Sequence[str]

    @property
    def title(self) -> str:
        """Above it."""
        e = self.evidence
        return f"{e.dataset}, encoder {e.encoder}, recipe {e.recipe.name}"


def by_recipe(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by their recipe's name, variants and numbers of points together."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        sampling = result.about.get("sampling_seed", 0)
        marks = f",sampling_seed={sampling}" if sampling else ""
        groups[result.about["recipe"]["name"] + marks].append(result)
    return dict(sorted(groups.items()))


def agreeing(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Refuse to average what was made with different settings.

    Of the runs of one variant and number of points, those with the most frequent settings are kept.

    Returns:
        The results to use, and a remark on each that is left out.
    """
    groups: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.variant, result.n_points].append(result)
    used, left_out = [], []
    for group in groups.values():
        common = Counter(map(_settings, group)).most_common(1)[0][0]
        for result in group:
            if _settings(result) == common:
                used.append(result)
            else:
                left_out.append(f"{result.folder}: {_differences(result, common)}")
    return used, left_out


def _settings(result: Result) -> str:
    return json.dumps([result.about.get(name) for name in SETTINGS], sort_keys=True)


def _differences(result: Result, common: str) -> str:
    """How a result's settings differ from the others' of its name."""
    parts = []
    for name, theirs in zip(SETTINGS, json.loads(common), strict=True):
        ours = json.loads(json.dumps(result.about.get(name)))
        if ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key) != theirs.get(key):
                    parts.append(f"{name}.{key} is {ours.get(key)}, not {theirs.get(key)}")
        else:
            parts.append(f"{name} is {ours}, not {theirs}")
    return "; ".join(parts) + " as in the other runs of this name; never in one mean with them"


def section(evidence: Evidence, data_settings: str, numbers: Sequence[str]) -> Section:
    """All tables of one recipe.

    Args:
        evidence: its results.
        data_settings: of the command line, for the commands that complete a table.
        numbers: of the tables whose gaps are of interest.
    """
    full = evidence.of(evidence.categories)
    groups: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in full or evidence.results:
        groups[result.variant, result.n_points].append(result)
    detailed = []
    for group in groups.values():
        trained = ", ".join(sorted({str(r.train_cat) for r in group}))
        table = every_metric(group, title_of(group[0].about), group[0].about["recipe"]["pro"])
        note = f"Trained on {trained}; {len(group)} {'runs' if len(group) > 1 else 'run'}."
        detailed.append(replace(table, notes=[note, *table.notes]))
    known = {"1", "2", "3", "4", "5"}
    tables = [*detailed, *tables_of(evidence, sorted(known))]
    return Section(evidence, tables, _gaps(evidence, data_settings, numbers))


def _gaps(evidence: Evidence, data_settings: str, numbers: Sequence[str]) -> list[str]:
    """What tables lack, and the one command that makes it."""
    gaps = {number: evidence.gaps(number) for number in numbers}
    lacking = {number: gap for number, gap in gaps.items() if gap[0]}
    if not lacking:
        return []
    lines = [f"Table {n}: {gap[0]} of {gap[1]} runs missing" for n, gap in lacking.items()]
    seeds = f"seeds={len(evidence.seeds)}" if len(evidence.seeds) > 1 else ""
    table = f"table={'all' if len(lacking) > 1 else next(iter(lacking))} run_missing=true"
    settings = filter(None, [data_settings, _recipe_settings(evidence), table, seeds])
    one = f" (one of them: table={next(iter(lacking))})" if len(lacking) > 1 else ""
    return [*lines, f"made by{one}: python scripts/eval.py {' '.join(settings)}"]


def _recipe_settings(evidence: Evidence) -> str:
    """The recipe's part of the commands that made its results."""
    for result in evidence.results:
        words = shlex.split(str(result.about.get("command", "")))
        settings = [word for word in words if word.lstrip("+").startswith("recipe")]
        if settings:
            return shlex.join(settings)
    return f"recipe={evidence.recipe.name}"


def write_report(folder: Path, sections: Sequence[Section], left_out: Sequence[str]) -> list[Path]:
    """Write a dataset's report.

    Args:
        folder: gets tables.md, .csv and .tex, index.html and results.jsonl.
        sections: one a recipe.
        left_out: runs that no table uses, and why.

    Returns:
        The paths written.
    """
    text, tex, html = [], [], []
    for part in sections:
        text.append(f"## {part.title}\n")
        tex.append(f"% {part.title}\n")
        html.append(f"<h2>{part.title}</h2>")
        for table in part.tables:
            text.append(markdown(table))
            tex.append(latex(table))
            html.append(to_html(table))
        html.append(pictures_html(folder, part.evidence.recipe.name))
    remarks = [gap for part in sections for gap in part.gaps]
    remarks += [f"left out: {remark}" for remark in left_out]
    text += [f"- {remark}" for remark in remarks]
    first = sections[0].evidence
    results = [result for part in sections for result in part.evidence.all_results]
    files = {
        "tables.md": "\n".join(text) + "\n",
        "tables.csv": to_csv(
            (p.evidence.recipe.name, table) for p in sections for table in p.tables
        ),
        "tables.tex": "% needs \\usepackage{booktabs}\n" + "\n".join(tex),
        "index.html": page(
            f"BTP on {first.dataset}, encoder {first.encoder}",
            html,
            [
                *(gap for part in sections for gap in part.gaps),
                *(f"left out: {x}" for x in left_out),
            ],
        ),
        "results.jsonl": "".join(json.dumps(dict(result.about)) + "\n" for result in results),
    }
    for name, content in files.items():
        write_text(folder / name, content)
    return [folder / name for name in files]


def explain_in(sections: Sequence[Section], request: str) -> str:
    """How a cell came about, in each recipe that has it.

    Raises:
        ConfigError: if none has.
    """
    texts, errors = [], []
    for part in sections:
        try:
            texts.append(explain(part.tables, request))
        except ConfigError as error:
            errors.append(error)
    if not texts:
        raise errors[0] if errors else DataError("explain: there are no results yet")
    return "\n".join(texts)
