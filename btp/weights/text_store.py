"""Keep the embeddings of fixed texts in a file beside the text tower's weights.

Encoding one text takes a 1.4 GB file and seconds; its embedding is 5 kB. A text is encoded once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from btp.runtime.files import write_bytes
from btp.weights.state_dict import read_checkpoint, read_metadata


@dataclass(frozen=True)
class TextStore:
    """The file with one text tower's embeddings.

    Attributes:
        path: .safetensors; a text is its embedding's name.
        weights: sha256 of the text tower's weights; embeddings of other weights are not read.
    """

    path: Path
    weights: str

    @classmethod
    def beside(cls, text_weights: str | Path, sha256: str) -> TextStore:
        """Return the store that belongs to a text tower's weight file."""
        path = Path(text_weights)
        return cls(path.with_name(f"{path.stem}_prompts.safetensors"), sha256)

    def read(self) -> dict[str, Tensor]:
        """Return every kept text with its embedding, float32 [D]; none made by other weights."""
        if not self.path.is_file():
            return {}
        embeddings = read_checkpoint(self.path)
        return embeddings if read_metadata(self.path) == {"weights": self.weights} else {}

    def add(self, embeddings: Mapping[str, Tensor]) -> None:
        """Add texts to the file; several processes may do so at once.

        Raises:
            DataError: if the folder cannot be written.
        """
        from safetensors.torch import save

        with FileLock(f"{self.path}.lock"):
            joined = self.read() | {t: e.detach().cpu().clone() for t, e in embeddings.items()}
            content = save(joined, metadata={"btp": json.dumps({"weights": self.weights})})
            write_bytes(self.path, content)
