"""The architecture: a file of btp/ imports only from floors below its own."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

import btp

# From the ground up; a line is a floor, a name a room: a file or a folder of btp/.
# `btp/__init__.py` imports lazily and stands outside.
FLOORS = """
errors types
config losses runtime
recipe
geometry metrics weights
data models drawing
features
training evaluation
inspect experiments
report benchmark pretraining
commands
__main__
"""

HEAVY = {
    "fpsample",
    "laspy",
    "matplotlib",
    "onnxruntime",
    "open3d",
    "open_clip",
    "pye57",
    "sklearn",
    "timm",
    "torchvision",
    "trimesh",
}


def floor_of() -> dict[str, int]:
    """Room -> floor."""
    lines = FLOORS.strip().splitlines()
    return {name: floor for floor, line in enumerate(lines) for name in line.split()}


def room_of(module: str) -> str | None:
    """The room that a module is, or is part of; None for a folder that only holds rooms."""
    parts = module.split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    return next((name for name in names if name in floor_of()), None)


def module_files(package: Path) -> dict[str, Path]:
    """Module name below btp -> its file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, modules: set[str]) -> set[str]:
    """The modules below btp that a file names in its imports, wherever in the file they stand."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            named = [f"{module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("btp.") in modules else module for name in named]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("btp.") for name in names if name.startswith("btp.")}
    return found


@pytest.fixture(scope="module")
def files(repository: Path) -> dict[str, Path]:
    found = module_files(repository / "btp")
    del found[""]
    return found


def test_every_file_is_in_a_room(files: dict[str, Path]) -> None:
    outside = [m for m, path in files.items() if room_of(m) is None and path.stem != "__init__"]
    assert outside == [], "add these to FLOORS"
    empty = set(floor_of()) - {room_of(module) for module in files}
    assert not empty, "no longer there: remove from FLOORS"


def test_imports_point_down(files: dict[str, Path]) -> None:
    floors = floor_of()
    upward = []
    for module, path in files.items():
        room = room_of(module)
        for imported in sorted(imports(ast.parse(path.read_text()), set(files))):
            below = room_of(imported)
            if room and below and room != below and floors[below] >= floors[room]:
                upward.append(f"{module} (floor {floors[room]}) imports {imported}")
    assert upward == []


def test_the_package_s_docstring_draws_the_floors() -> None:
    floors, above = floor_of(), len(FLOORS)
    drawn = []
    for line in re.findall(r"^    \d  (\S+(?: \S+)*?)  ", btp.__doc__ or "", re.MULTILINE):
        rooms = line.split()
        assert max(floors[room] for room in rooms) < above, f"{line}: not below the line before"
        above = min(floors[room] for room in rooms)
        drawn += rooms
    assert sorted(drawn) == sorted(set(floors) - {"__main__"})


def test_no_imports_in_circles(files: dict[str, Path]) -> None:
    graph = {m: imports(ast.parse(p.read_text()), set(files)) - {m} for m, p in files.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_heavy_packages_are_imported_where_they_are_used(files: dict[str, Path]) -> None:
    at_top = [
        f"{name} imports {package}"
        for name, path in files.items()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for package in _packages(node)
        if package in HEAVY
    ]
    assert at_top == []


def test_only_commands_know_hydra(files: dict[str, Path]) -> None:
    knowing = [
        name
        for name, path in files.items()
        if room_of(name) != "commands"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "hydra" in _packages(node)
    ]
    assert knowing == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import btp.losses", {"losses"}),
        ("from btp.losses import joint_loss", {"losses"}),
        ("from btp.data import prepare", {"data.prepare"}),
        ("def f():\n    from btp.data.prepare import prepare", {"data.prepare"}),
        ("import numpy\nfrom torch import nn", set()),
    ],
)
def test_imports_are_read(source: str, expected: set[str]) -> None:
    assert imports(ast.parse(source), {"losses", "data", "data.prepare"}) == expected


def _packages(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = (
        [alias.name for alias in node.names]
        if isinstance(node, ast.Import)
        else [node.module or ""]
    )
    return {name.partition(".")[0] for name in names}
