"""Real meshes as a source of the corpus: any folders of them, with English names."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from btp.data.formats import MESH_SUFFIXES
from btp.data.synthesis.solids import Array
from btp.errors import ConfigError, DataError
from btp.pretraining.corpus.captions import Words
from btp.pretraining.corpus.collections import NAMES_FILE
from btp.pretraining.corpus.items import DEFECTIVE, ONE_SIDED, CorpusItem, detailed, scan
from btp.pretraining.corpus.plain import PLAIN, plain_body
from btp.pretraining.corpus.shape import log_uniform
from btp.pretraining.corpus.surfaces import POINTS as MOST
from btp.pretraining.corpus.surfaces import kept_outside
from btp.pretraining.makers.kinds import apply
from btp.pretraining.makers.place import Mask

Rng = np.random.Generator

LEAST = 6_000
"""Points of a scan, at least; at most all that are kept of a mesh."""
STRETCHED = 0.3
"""Share of objects whose proportions are changed."""
TRIES = 10


@dataclass(frozen=True)
class MeshFile:
    """A mesh and its words.

    Attributes:
        path: of the file.
        nouns: what it is, the whole name first.
        origin: the collection.
    """

    path: Path
    nouns: tuple[str, ...]
    origin: str


@dataclass(frozen=True)
class Meshes:
    """Scans of real meshes, half of them with a defect, and of a few plain bodies without.

    Attributes:
        files: what to draw from, each with the same chance.
        cache: folder where the meshes' surfaces are kept.
        kinds: of defects, from `btp.pretraining.makers.kinds.ALL`; each has the same chance.
        wordings: captions an item.
    """

    files: tuple[MeshFile, ...]
    cache: Path
    kinds: tuple[str, ...]
    wordings: int = 2

    @property
    def key(self) -> str:
        """Return a digest of the meshes' places and names, and the kinds of defects."""
        seen = repr([(file.path.name, file.nouns, file.origin) for file in self.files])
        return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest() + " ".join(self.kinds)

    def __call__(self, seed: int, index: int) -> CorpusItem:
        """Make item number `index` of the corpus `seed`.

        Raises:
            DataError: if mesh after mesh cannot be used.
        """
        rng = np.random.default_rng([seed, index, 1])
        if rng.random() < PLAIN:
            points, nouns = plain_body(rng)
            labels, words = np.zeros(len(points), bool), Words(nouns)
            scanned, labels, captions = scan(points, labels, words, False, rng, self.wordings)
            return CorpusItem(scanned, labels, captions, nouns, "plain", "")
        file, points, normals = self._draw(rng)
        points, details = detailed(points, normals, rng) if rng.random() < 0.5 else (points, [])
        defect, labels = "", np.zeros(len(points), np.bool_)
        if rng.random() < DEFECTIVE:
            defect, points, labels = self._damaged(points, normals, rng)
        one_sided, words = bool(rng.random() < ONE_SIDED), Words(file.nouns, (), details)
        scanned, labels, captions = scan(points, labels, words, one_sided, rng, self.wordings)
        return CorpusItem(scanned, labels, captions, file.nouns, file.origin, defect)

    def _draw(self, rng: Rng) -> tuple[MeshFile, Array, Array]:
        """Draw a mesh, its density and its proportions: its words, points and normals."""
        for _ in range(TRIES):
            file = self.files[int(rng.integers(len(self.files)))]
            try:
                points, normals = kept_outside(file.path, self.cache)
            except DataError as error:
                reason = error
                continue
            count = int(log_uniform(rng, LEAST, MOST))
            rows = np.sort(rng.permutation(len(points))[:count])
            if len(rows) < LEAST:
                reason = DataError(f"only {len(rows)} points are seen from outside")
                continue
            stretch = np.exp(rng.normal(0, 0.2, 3)) if rng.random() < STRETCHED else np.ones(3)
            points, normals = points[rows] * stretch, normals[rows] / stretch
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            points = points - points.mean(0)
            return file, points / np.linalg.norm(points, axis=1).max(), normals
        raise DataError(f"{TRIES} meshes in a row cannot be used; the last, {file.path}: {reason}")

    def _damaged(self, points: Array, normals: Array, rng: Rng) -> tuple[str, Array, Mask]:
        """Draw a defect that this surface can show: its kind, the points and the labels."""
        for _ in range(TRIES):
            kind = str(rng.choice(self.kinds))
            try:
                return kind, *apply(kind, points, normals, rng)
            except DataError as error:
                reason = error
        raise DataError(f"{TRIES} kinds of defects cannot be shown on one mesh: {reason}")


def mesh_files(folders: Sequence[Path], names: Path | None = None) -> tuple[MeshFile, ...]:
    """List the meshes of folders, with all below them, and their English names.

    Args:
        folders: to look in; the folder that a mesh lies in is its origin.
        names: CSV with the columns `file` and `name`; files are relative to the CSV's folder. A
            folder's own `names.csv` is read as well. A mesh without a name is called as its file.

    Raises:
        ConfigError: if there is no such folder, or none with a mesh.
        DataError: if a CSV has other columns.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"meshes={folder}: no such folder; expected one with mesh files")
        found += [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in MESH_SUFFIXES]
    if folders and not found:
        raise ConfigError(
            f"meshes={','.join(map(str, folders))}: no mesh found; expected files "
            f"{', '.join(MESH_SUFFIXES)}"
        )
    lists = {path.parent / NAMES_FILE for path in found} | ({names} if names else set())
    named: dict[Path, str] = {}
    for path in sorted(lists):
        if path == names or path.is_file():
            named |= _read_names(path)
    return tuple(
        MeshFile(path, nouns_of(named.get(path.resolve(), path.stem)), path.parent.name)
        for path in found
    )


def nouns_of(name: str) -> tuple[str, ...]:
    """Return a thing's names, best first, from a title: the whole one, and its last word.

    Numbers, brackets and marks are left out: "Sofa 3 seats (red)" is ("sofa seats", "seats").
    """
    plain = re.sub(r"\(.*?\)|[^a-z ]", " ", name.replace("_", " ").replace("-", " ").lower())
    words = [word for word in plain.split() if len(word) > 1][:4]
    if not words:
        return ("object",)
    return (" ".join(words), words[-1]) if len(words) > 1 else (words[0],)


def _read_names(path: Path) -> dict[Path, str]:
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = csv.DictReader(handle)
            return {(path.parent / row["file"]).resolve(): row["name"] for row in rows}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not readable as names of meshes ({error}); expected a CSV with the columns "
            "file and name"
        ) from error
