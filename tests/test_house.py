"""The architecture: a file of btp/ imports only from floors below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

# From the ground up; a line is a floor. `btp/__init__.py` imports lazily and stands outside.
FLOORS = """
errors types data data.mesh data.pcd data.ply data.solids data.table metrics.ranking models report
config files losses metrics.checks normals state_dict torchvision_shim
geometry surface data.formats data.patches fpfh_numpy metrics.ground_truth
fpfh metrics.detection metrics.localization models.gfcm models.mgfem models.point_encoder \
    models.text_encoder data.dataset data.defects data.shapes data.corpus_shape \
    data.corpus_solids
metrics models.prompts recipe runs data.anomaly_shapenet data.folder data.real3d data.scans data.prepare \
    data.corpus_captions data.corpus_detail data.corpus_lumps data.corpus_prisms data.corpus_turned
models.detector data.demo data.synthesize data.corpus_bars data.corpus_machined
weights data.catalog data.corpus_assembled
data.store data.corpus_families
inference data.corpus
evaluation training baselines
protocol
report.pictures report.tables
report.summary
"""

HEAVY = {
    "fpsample",
    "matplotlib",
    "open3d",
    "open_clip",
    "sklearn",
    "timm",
    "torchvision",
    "trimesh",
}


def floor_of() -> dict[str, int]:
    """Module name below btp, "" for btp itself -> floor."""
    lines = FLOORS.replace("\\\n", "").strip().splitlines()
    return {name: floor for floor, line in enumerate(lines) for name in line.split()}


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


def test_every_file_has_a_floor(files: dict[str, Path]) -> None:
    assert sorted(set(files) - set(floor_of())) == [], "add these to FLOORS"


def test_imports_point_down(files: dict[str, Path]) -> None:
    floors = floor_of()
    files = {name: path for name, path in files.items() if name in floors}
    upward = [
        f"{name} (floor {floors[name]}) imports {imported} (floor {floors[imported]})"
        for name, path in files.items()
        for imported in sorted(imports(ast.parse(path.read_text()), set(files)))
        if floors[imported] >= floors[name]
    ]
    assert upward == []


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


def test_only_scripts_know_hydra(files: dict[str, Path]) -> None:
    knowing = [
        name
        for name, path in files.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "hydra" in _packages(node)
    ]
    assert knowing == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import btp.fpfh", {"fpfh"}),
        ("from btp.fpfh import spacing", {"fpfh"}),
        ("from btp.data import prepare", {"data.prepare"}),
        ("def f():\n    from btp.data.prepare import prepare", {"data.prepare"}),
        ("import numpy\nfrom torch import nn", set()),
    ],
)
def test_imports_are_read(source: str, expected: set[str]) -> None:
    assert imports(ast.parse(source), {"fpfh", "data", "data.prepare"}) == expected


def _packages(node: ast.Import | ast.ImportFrom) -> set[str]:
    names = (
        [alias.name for alias in node.names]
        if isinstance(node, ast.Import)
        else [node.module or ""]
    )
    return {name.partition(".")[0] for name in names}
