"""The published weights of a point-language model: getting and checking them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from btp.errors import ConfigError, WeightsError
from btp.models.point_encoder import PointBERT
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import TextTower
from btp.runtime.files import write_bytes
from btp.runtime.own_files import command_line
from btp.weights.download import fetch_whole, fill, partial_path, remove_partials
from btp.weights.published import ULIP2_FILE, known_mistake, text_tower_state, unwrap
from btp.weights.records import install, read_record, record_path, verify, write_record
from btp.weights.sources import LocalFile, RemoteFile, find_remote
from btp.weights.state_dict import load_strictly, read_checkpoint
from btp.weights.text_cut import cut_checkpoint, plan_cut

COMMAND = command_line("weights", "fetch=ulip2")


@dataclass(frozen=True)
class Part:
    """One of the two halves of a published point-language model.

    Attributes:
        title: for people.
        purpose: what it is needed for.
        repo: on the Hugging Face hub.
        repo_type: "model" or "dataset".
        files: names there, the best first.
    """

    title: str
    purpose: str
    repo: str
    repo_type: str
    files: tuple[str, ...]


POINT = Part(
    "point encoder",
    "encodes scans; everything needs it",
    "SFXX/ulip",
    "dataset",
    (f"ULIP-2/pretrained_models/{ULIP2_FILE}",),
)
TEXT = Part(
    "text tower",
    "encodes prompts: to train, or to convert the authors' heads; scoring does not need it",
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "model",
    ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)


def fetch(encoder: EncoderConfig, path: Path | None = None) -> list[Path]:
    """Get ULIP-2's point encoder and OpenCLIP's text tower, where the encoder's config wants them.

    ULIP-2's file is cut to its point encoder (130 MB), OpenCLIP's to its text tower in 16 bits
    (1.4 GB). Each is recorded with size and hash. What is there is verified and left alone.

    Args:
        encoder: configs/encoder/ulip2.yaml.
        path: a file got by hand, of either; its content tells of which, and only that one is set
            up. The file itself is left as it is.

    Returns:
        The files that are now there.

    Raises:
        WeightsError: if something cannot be got, is damaged, or is not what it should be.
        ConfigError: if the encoder has no published weights.
    """
    targets = _targets(encoder)
    part = None if path is None else _recognise(path)
    wanted = [(p, target) for p, target in targets if part in (None, p)]
    for p, target in wanted:
        with _alone(target):
            if target.is_file():
                _accept(p, encoder, target)
            elif path is not None:
                _install(p, encoder, target, path, origin=str(path))
            else:
                _download(p, encoder, target)
            remove_partials(target)  # now of no use, here or from an earlier call that was killed
    return [target for _, target in wanted]


def _targets(encoder: EncoderConfig) -> tuple[tuple[Part, Path], ...]:
    if encoder.point_weights is None or encoder.text_weights is None:
        raise ConfigError(
            f"encoder {encoder.name} has no published weights to fetch; expected encoder=ulip2. "
            f"Run `{COMMAND}`"
        )
    return ((POINT, Path(encoder.point_weights)), (TEXT, Path(encoder.text_weights)))


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time get a file; the others then find it there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"{target}: another process is getting it; waiting for that")
            lock.acquire()
    except OSError as error:
        raise WeightsError(
            f"{target}: cannot write here ({error.strerror}); give another place with "
            "encoder.point_weights= and encoder.text_weights="
        ) from error
    try:
        yield
    finally:
        lock.release()


def _accept(part: Part, encoder: EncoderConfig, target: Path) -> None:
    """Verify a file that is there, or record it if it was put there by hand."""
    if verify(target, thoroughly=True) is None:
        state = read_checkpoint(target)
        if part is POINT:
            PointBERT.load(encoder.point, state)
        else:
            load_strictly(_empty_tower(encoder), state, target, assign=True)
        write_record(target, source="put here by hand")


def _recognise(path: Path) -> Part:
    """Return which half of the model a file got by hand holds."""
    names = unwrap(read_checkpoint(path))
    if any(name.startswith("point_encoder.") for name in names):
        return POINT
    if "token_embedding.weight" in text_tower_state(names):
        return TEXT
    found = known_mistake(names) or f"{', '.join(sorted(names)[:4])} ..."
    raise WeightsError(
        f"{path}: holds {found}; expected {ULIP2_FILE} or OpenCLIP's {TEXT.files[0]} "
        f"(of {TEXT.repo}). Without path= both are downloaded: `{COMMAND}`"
    )


def _download(part: Part, encoder: EncoderConfig, target: Path) -> None:
    remote = find_remote(part.repo, part.repo_type, part.files)
    record = read_record(target)
    if record is not None and record.etag not in ("", remote.etag):
        raise WeightsError(
            f"{remote.name}: the published file has changed; found {remote.etag}, expected "
            f"{record.etag} as recorded. Delete {record_path(target)} to accept the new one, "
            f"and repeat: {COMMAND}"
        )
    partial = partial_path(target, remote.etag)
    if part is TEXT and remote.name.endswith(".safetensors"):
        _cut(encoder, remote, partial)
        install(partial, target, remote.name, remote.etag)
        return
    fetch_whole(remote, partial, COMMAND)
    try:
        _install(part, encoder, target, partial, remote.name, remote.etag)
    finally:
        partial.unlink(missing_ok=True)  # it is whole: either converted, or of no use


def _install(
    part: Part, encoder: EncoderConfig, target: Path, path: Path, origin: str, etag: str = ""
) -> None:
    """Take what is needed from a published file on disk."""
    ready = partial_path(target, "ready")
    if part is POINT:
        from safetensors.torch import save

        content = save(PointBERT.load(encoder.point, path).state_dict())
        write_bytes(ready, content)
    elif path.suffix == ".safetensors":
        stat = path.stat()
        ready = partial_path(target, f"{stat.st_size}{stat.st_mtime_ns}")
        _cut(encoder, LocalFile.at(path), ready)
    else:
        cut_checkpoint(path, _empty_tower(encoder).state_dict(), ready)
    install(ready, target, origin, etag)


def _cut(encoder: EncoderConfig, source: LocalFile | RemoteFile, partial: Path) -> None:
    """Fill a partial file with the text tower of a whole model."""
    cut = plan_cut(source, _empty_tower(encoder).state_dict())
    fill(partial, cut.size, cut.read, f"text tower of {source.name}", COMMAND)


def _empty_tower(encoder: EncoderConfig) -> TextTower:
    with torch.device("meta"):
        return TextTower(encoder.text)


def status(encoder: EncoderConfig) -> list[str]:
    """Say of each weight file, in lines, whether it is there and whole, and what it is for."""
    lines = []
    for part, target in _targets(encoder):
        state, note = "missing", f"get it: {COMMAND}"
        if target.is_file():
            try:
                record = verify(target, thoroughly=True)
                state = "there" if record else "there, not recorded"
                note = f"from {record.source}, sha256 {record.sha256}" if record else f"{COMMAND}"
            except WeightsError as error:
                state, note = "DAMAGED", str(error)
        lines += [f"{part.title}: {state}", f"    {target}", f"    {part.purpose}", f"    {note}"]
    return lines
