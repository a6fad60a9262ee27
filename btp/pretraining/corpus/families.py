"""The shape families of the pretraining corpus.

None is a category of the demo set and none uses its generators. A family spans what a category does
not: every call draws another kind of thing. Its words are comparisons with everyday things, decided
by the parameters alone. Things of the demo's kinds are among them, screws and wheels, hooks and
goblets: a name can only be learned from what may bear it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from btp.pretraining.corpus.assembled import assembled
from btp.pretraining.corpus.bars import framed, grown, looped, swept
from btp.pretraining.corpus.lumps import faceted, lump, squared
from btp.pretraining.corpus.machined import machined, plate, spoked
from btp.pretraining.corpus.prisms import beam, prism
from btp.pretraining.corpus.shape import Rng, Shape
from btp.pretraining.corpus.turned import threaded, turned

FAMILIES: dict[str, Callable[[Rng], Shape]] = {
    "assembled": assembled,
    "beam": beam,
    "faceted": faceted,
    "framed": framed,
    "grown": grown,
    "looped": looped,
    "lump": lump,
    "machined": machined,
    "plate": plate,
    "prism": prism,
    "spoked": spoked,
    "squared": squared,
    "swept": swept,
    "threaded": threaded,
    "turned": turned,
}

_SHARES = {"turned": 6, "prism": 2, "swept": 2, "threaded": 0.6}
"""How often a family is drawn against the others' 1: by the kinds of thing it spans, so that few
everyday names stay rare; turned bodies alone are some fifty kinds, from bottle to wheel."""


def draw_family(rng: Rng, names: Sequence[str] = tuple(FAMILIES)) -> str:
    """Draw one of the families, those that span more kinds more often."""
    shares = np.array([_SHARES.get(name, 1) for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]
