"""Real3D-AD: 12 categories of high-resolution scans (Liu et al., NeurIPS 2023; CC BY 4.0).

Layout: `<root>/<category>/{train,test,gt}/`, PCD in millimetres, not centred. Four full scans a
category train; test scans are mostly partial. Names are `258_good`, `363_bulge`, each also with
`_cut` (its edge cut off) and a few with `_copy`. Five label files hold another number of points
than their PCD: chicken 705_bulge and 706_sink, seahorse 265_bulge and 265_bulge_cut, starfish
433_bulge.
"""

from __future__ import annotations

from pathlib import Path

from btp.data.benchmark import Benchmark
from btp.data.dataset import category_folders, require_categories


class Real3D(Benchmark):
    """Reads Real3D-AD from its unpacked archive.

    Args:
        root: the folder that holds airplane, candybar, car, ...
        allow_missing: go on with an incomplete download; `missing` then names what is not there.

    Raises:
        DataError: no categories in `root`, or an incomplete download (see `problems`).
    """

    name = "real3d"

    def __init__(self, root: str | Path, allow_missing: bool = False) -> None:
        folders = category_folders(Path(root))
        require_categories(
            folders,
            Path(root),
            "expected the category folders of Real3D-AD (airplane, candybar, car, ...). Download "
            "Real3D-AD-PCD from the official repository M-3LAB/Real3D-AD; see README: data.",
        )
        super().__init__(folders, allow_missing)

    def _is_defective(self, category: str, path: Path) -> bool:
        return "good" not in path.stem.split("_")
