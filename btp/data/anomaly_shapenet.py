"""Anomaly-ShapeNet v2: 40 categories of synthetic clouds (Li et al., CVPR 2024; CC BY 4.0).

Layout: `dataset/pcd/<category>/{train,test,GT}/`, and 12 later categories in `dataset/new_pcd/`.
Names are `ashtray0_template0`, `ashtray0_positive0` (normal), `ashtray0_bulge0`; cracks are spelt
`crak`. Label files are separated by commas, in some copies by spaces, and order their rows
otherwise than the PCD; five of helmet1 have one row more.
"""

from __future__ import annotations

from pathlib import Path

from btp.data.benchmark import Benchmark
from btp.data.dataset import category_folders, require_categories

NEW_CATEGORIES = (
    *("cabinet0", "cap1", "cap2", "chair0", "cup2", "desk0", "knife0", "knife1", "microphone1"),
    *("screen0", "vase10", "vase6"),
)


class AnomalyShapeNet(Benchmark):
    """Reads Anomaly-ShapeNet from its unpacked archive.

    Args:
        root: the unpacked archive, its `dataset` folder, or the `pcd` folder in it.
        allow_missing: go on with an incomplete download; `missing` then names what is not there.
        include_new: also list the 12 categories of `new_pcd`, which the papers do not report; of
            these only the names of the categories are checked.

    Raises:
        DataError: no categories in `root`, or an incomplete download (see `problems`).
    """

    name = "anomaly_shapenet"

    def __init__(
        self, root: str | Path, allow_missing: bool = False, include_new: bool = False
    ) -> None:
        places = (Path(root) / "dataset" / "pcd", Path(root) / "pcd", Path(root))
        place = next((place for place in places if category_folders(place)), Path(root))
        folders = category_folders(place)
        require_categories(
            folders,
            Path(root),
            "expected the category folders of Anomaly-ShapeNet (ashtray0, bag0, bottle0, ...), in "
            "it or in dataset/pcd. Download it from the official repository "
            "Chopper-233/Anomaly-ShapeNet and unpack it with unar; see README: data.",
        )
        if include_new:
            folders |= category_folders(place.parent / "new_pcd")
        self._include_new = include_new
        super().__init__(folders, allow_missing)

    def _expected(self) -> dict[str, list[str]]:
        expected = super()._expected()
        return expected | {name: [] for name in NEW_CATEGORIES} if self._include_new else expected

    def _is_defective(self, category: str, path: Path) -> bool:
        return not path.stem.rpartition("_")[2].startswith("positive")

    def _label_path(self, category: str, path: Path) -> Path:
        label_path = super()._label_path(category, path)
        # desk0's `desk_bulge0.pcd` lacks the digit that its label file may have.
        full = label_path.with_name(f"{category}_{path.stem.rpartition('_')[2]}.txt")
        return full if full.is_file() and not label_path.is_file() else label_path
