"""Public collections of meshes: where each comes from, its licence, and how it is laid out.

Only collections whose licence allows derived works are listed; those with "share alike", "no
derivatives" or "non-commercial" terms are left out, as are the well-known test models.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from btp.data.formats import MESH_SUFFIXES
from btp.errors import DataError

NAMES_FILE = "names.csv"


@dataclass(frozen=True)
class Package:
    """A package of a registry that ships meshes.

    Attributes:
        name: as the registry knows it.
        version: that was used; other versions may hold other meshes.
        registry: "debian" or "pypi".
    """

    name: str
    version: str
    registry: str


@dataclass(frozen=True)
class Collection:
    """Meshes of one origin, which are all trained on or all kept for validation.

    Attributes:
        name: of its folder.
        package: that ships it.
        pattern: regular expression of the mesh files' paths inside the package.
        licence: of the meshes.
        credit: their authors.
        training: False where the meshes serve for validation only.
        noun: what a mesh is called where the package does not name it.
        most: how many are taken, evenly from the sorted paths; 0 for all.
    """

    name: str
    package: Package
    pattern: str
    licence: str
    credit: str
    training: bool = True
    noun: str = "robot part"
    most: int = 0


_FURNITURE = Package("sweethome3d-furniture", "1.8-1", "debian")
_ROBOTS = Package("example-robot-data", "6.0.0", "pypi")
_BODIES = Package("pybullet", "3.2.7", "pypi")
_GRIPPERS = Package("airo-models", "0.0.12", "pypi")

_FREE_ROBOTS = (
    "g1 talos centauro tiago_pro solo pr2 tiago so_arm ur human allegro_hand cassie bolt "
    "alexander panda finger_edu xarm quadruped double_pendulum iris hector simple_humanoid"
)

COLLECTIONS = (
    Collection(
        "scopia", _FURNITURE, r"Scopia/.*\.obj", "CC BY 3.0", "Scopia Visual Interfaces Systems"
    ),
    Collection(
        "blendswap-cc0",
        _FURNITURE,
        r"BlendSwap-CC-0/.*\.obj",
        "CC0",
        "BlendSwap's contributors, collected by Emmanuel Puybaret (eTeks)",
    ),
    Collection(
        "blendswap-by",
        _FURNITURE,
        r"BlendSwap-CC-BY/.*\.obj",
        "CC BY 3.0",
        "BlendSwap's contributors, collected by Emmanuel Puybaret (eTeks)",
    ),
    Collection("reallusion", _FURNITURE, r"Reallusion/.*\.obj", "CC BY 3.0", "Reallusion"),
    Collection(
        "robots",
        _ROBOTS,
        rf".*/robots/({'|'.join(_FREE_ROBOTS.split())})_(description|data)/.*\.(stl|obj)",
        "BSD, Apache-2.0 or ISC, by robot (the collection's own README names each)",
        "the robots' makers, collected by LAAS-CNRS, the University of Edinburgh and INRIA",
    ),
    Collection(
        "bodies",
        _BODIES,
        r".*/random_urdfs/\d+/\d+\.obj",
        "zlib",
        "Erwin Coumans and the contributors of Bullet",
        noun="odd body",
        most=200,
    ),
    Collection(
        "kator-legaz",
        _FURNITURE,
        r"KatorLegaz/.*\.obj",
        "CC BY 3.0",
        "Andrew Kator and Jennifer Legaz",
        training=False,
    ),
    Collection(
        "grippers",
        _GRIPPERS,
        r".*/(cameras|mobile_platforms|grippers)/(?!.*collision).*\.(obj|stl)",
        "MIT; the mobile platform's BSD",
        "AIRO, Ghent University, and the makers that it names",
        training=False,
    ),
)


def fetch_collections(out: Path, downloads: Path) -> None:
    """Fetch every collection by its registry's own client and lay out its meshes.

    Args:
        out: gets `training/<collection>/` and `validation/<collection>/`, each with the meshes and
            a `names.csv` of their file names and their English names. A collection that is there
            already is left as it is.
        downloads: gets the packages, unpacked; may be removed afterwards.

    Raises:
        DataError: if a package cannot be fetched or holds no mesh of a collection.
    """
    for collection in COLLECTIONS:
        folder = out / ("training" if collection.training else "validation") / collection.name
        if not (folder / NAMES_FILE).is_file():
            lay_out(collection, _unpacked(collection.package, downloads), folder)


def lay_out(collection: Collection, package: Path, folder: Path) -> None:
    """Copy a collection's meshes out of its unpacked package, with their names.

    Raises:
        DataError: if the package holds no such mesh.
    """
    wanted = re.compile(collection.pattern, re.IGNORECASE)
    named = dict(_furniture_names(package))
    paths = sorted(p for p in package.rglob("*") if p.suffix.lower() in MESH_SUFFIXES)
    found = [p for p in paths if wanted.fullmatch(p.relative_to(package).as_posix())]
    if collection.most:
        found = found[:: max(1, len(found) // collection.most)][: collection.most]
    if not found:
        raise DataError(
            f"{package}: no mesh of the collection {collection.name}; expected version "
            f"{collection.package.version} of {collection.package.name}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, path in enumerate(found):
        file = f"{number:04d}{path.suffix.lower()}"
        shutil.copyfile(path, folder / file)
        rows.append((file, named.get(path, collection.noun)))
    with (folder / NAMES_FILE).open("w", newline="") as handle:  # last: it marks the folder whole
        csv.writer(handle).writerows([("file", "name"), *rows])


def _unpacked(package: Package, downloads: Path) -> Path:
    """Return the folder of a package's files, which are fetched unless they are there."""
    folder = downloads / package.name
    if folder.is_dir():
        return folder
    downloads.mkdir(parents=True, exist_ok=True)
    partial = downloads / f".{package.name}-unfinished"
    shutil.rmtree(partial, ignore_errors=True)
    if package.registry == "debian":
        _run(["apt-get", "download", f"{package.name}={package.version}"], downloads)
        archive = next(downloads.glob(f"{package.name}_*.deb"))
        _run(["dpkg-deb", "-x", str(archive), str(partial)], downloads)
        for inner in sorted(partial.rglob("*.sh3f")):  # a zip archive of furniture
            with zipfile.ZipFile(inner) as content:
                content.extractall(partial / inner.stem)
    else:
        wheel = f"{package.name}=={package.version}"
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", wheel]
        _run(pip, downloads)
        stem = package.name.replace("-", "_")
        with zipfile.ZipFile(next(downloads.glob(f"{stem}-*.whl"))) as content:
            content.extractall(partial)
    partial.rename(folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        raise DataError(
            f"`{' '.join(command)}` failed: {said}. Expected a machine that reaches the registry; "
            "fetch the package there, or give other folders of meshes"
        ) from error


def _furniture_names(package: Path) -> Iterator[tuple[Path, str]]:
    """Yield mesh files and English names from the catalogues of furniture archives."""
    for catalogue in sorted(package.rglob("PluginFurnitureCatalog.properties")):
        text = catalogue.read_text(encoding="latin-1")
        names = dict(re.findall(r"^name#(\d+)=(.*)$", text, re.MULTILINE))
        for number, model in re.findall(r"^model#(\d+)=/?(.*)$", text, re.MULTILINE):
            yield catalogue.parent / PurePosixPath(model.strip()), names[number]
