"""A training run packed for a borrowed GPU node without a network: a description and shards of audio.

A pack is a directory: ``pack.json``, ``dev-000.tar``, ``noise.npy`` and ``shard-000.tar`` …. A shard holds
``manifest.jsonl`` first, then audio files as they were. Utterances are in random order over all corpora, so that
training can start on the first shard.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_asr.errors import DataError
from edge_asr.training.config import TrainConfig

if TYPE_CHECKING:
    from lhotse import MonoCut

FORMAT = "edge-asr-pack-1"
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """An utterance of a shard: the name of its file there, where it is from, seconds, token ids and text."""

    audio: str
    corpus: str
    seconds: float
    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class PackSpec:
    """``pack.json``.

    Attributes:
        config: the run.
        tokenizer: the sentencepiece model (the node does not need it, the weights file made afterwards does).
        pieces: text of each token id, blank first.
        shards: file name → bytes, in order.
        hours: corpus → hours.
        mean: per mel bin, as ``std``.
        std: standard deviation.
    """

    config: TrainConfig
    tokenizer: bytes
    pieces: tuple[str, ...]
    shards: dict[str, int]
    hours: dict[str, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def write(self, folder: Path) -> None:
        """Writes ``pack.json``."""
        values = asdict(self) | {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "tokenizer": base64.b64encode(self.tokenizer).decode(),
        }
        (folder / "pack.json").write_text(json.dumps(values))

    @classmethod
    def read(cls, folder: Path) -> PackSpec:
        """Reads ``pack.json``; DataError where it is missing or foreign."""
        try:
            values = json.loads((folder / "pack.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"pack {str(folder)!r} cannot be read: {error}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise DataError(f"pack {str(folder)!r}: pack.json is not of format {FORMAT!r}")
        return cls(
            TrainConfig.from_dict(values["config"]),
            base64.b64decode(values["tokenizer"]),
            tuple(values["pieces"]),
            values["shards"],
            values["hours"],
            tuple(values["mean"]),
            tuple(values["std"]),
        )


def write_shards(
    folder: Path,
    stem: str,
    cuts: Iterable[tuple[str, MonoCut]],
    encode: Callable[[str], list[int]],
    most_bytes: int,
    tick: Callable[[float], None] = lambda _: None,
) -> dict[str, int]:
    """Writes (corpus, cut) pairs in their order to ``<stem>-000.tar`` …, none larger than ``most_bytes``.

    Returns:
        File name → bytes.
    """
    shards: dict[str, int] = {}
    rows: list[Row] = []
    files: list[tuple[str, bytes]] = []
    size = 0

    def close() -> None:
        nonlocal size
        if rows:
            path = folder / f"{stem}-{len(shards):03d}.tar"
            _write_tar(path, rows, files)
            shards[path.name] = path.stat().st_size
        rows.clear()
        files.clear()
        size = 0

    for corpus, cut in cuts:
        source = Path(cut.recording.sources[0].source)
        try:
            data = source.read_bytes()
        except OSError as error:
            raise DataError(f"audio {str(source)!r} cannot be read: {error}") from error
        text = cut.supervisions[0].text
        row = Row(f"{len(rows):05d}{source.suffix}", corpus, cut.duration, tuple(encode(text)), text)
        need = len(data) + 2048 + len(json.dumps(asdict(row)))
        if rows and size + need > most_bytes - 20_480:
            close()
            row = Row(f"{0:05d}{source.suffix}", corpus, cut.duration, row.ids, text)
        rows.append(row)
        files.append((row.audio, data))
        size += need
        tick(cut.duration)
    close()
    return shards


def _write_tar(path: Path, rows: list[Row], files: list[tuple[str, bytes]]) -> None:
    manifest = "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode()
    part = path.with_name(path.name + ".part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [(MANIFEST, manifest), *files]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    os.replace(part, path)


def read_shard(path: Path) -> Iterator[tuple[Row, bytes]]:
    """Utterances of a shard with their audio files' bytes; DataError where it is damaged."""
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
            file = archive.extractfile(first) if first is not None else None
            if first is None or file is None or first.name != MANIFEST:
                raise DataError(f"shard {str(path)!r} does not begin with {MANIFEST}")
            values = [json.loads(line) for line in file.read().decode().splitlines()]
            rows = {v["audio"]: Row(**(v | {"ids": tuple(v["ids"])})) for v in values}
            for entry in archive:
                content = archive.extractfile(entry)
                if content is not None and entry.name != MANIFEST:
                    yield rows.pop(entry.name), content.read()
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"shard {str(path)!r} is damaged: {error!r}") from error
    if rows:
        raise DataError(f"shard {str(path)!r} is cut off: {len(rows)} utterances lack their audio")


def complete_shards(folder: Path, spec: PackSpec) -> list[Path]:
    """Shards that have arrived whole, in order."""
    paths = [folder / name for name in spec.shards]
    return [p for p in paths if p.exists() and p.stat().st_size == spec.shards[p.name]]


def save_noise(path: Path, mels: np.ndarray[Any, np.dtype[np.float16]], rows: int = 30_000) -> None:
    """Writes the first rows of cached noise features (300 s by default)."""
    np.save(path, np.ascontiguousarray(mels[:rows]))
