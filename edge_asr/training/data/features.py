"""Log-mel features cached on disk: half precision, memory-mapped, one file a corpus and speed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr
import torch

from edge_asr.errors import DataError
from edge_asr.model.logmel import SAMPLE_RATE, LogMel

if TYPE_CHECKING:
    from lhotse import CutSet, MonoCut

FRAME_SAMPLES, OVERLAP_SAMPLES = 640, 720


def read_audio(path: str | BinaryIO, speed: float = 1.0) -> npt.NDArray[np.float32]:
    """Reads a file as mono PCM at 16 kHz, optionally faster or slower, as in Kaldi's speed perturbation (pitch moves).

    Args:
        path: a file, or an open one, of any format that libsndfile reads.
        speed: above 1 is faster and shorter.

    Returns:
        (N,) float32 in [-1, 1].
    """
    try:
        pcm, rate = sf.read(path, dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise DataError(f"audio {path!r} cannot be read: {error}") from error
    mono = pcm.mean(axis=1)
    if rate != SAMPLE_RATE or speed != 1.0:
        mono = soxr.resample(mono, rate * speed, SAMPLE_RATE)
    return np.ascontiguousarray(mono, dtype=np.float32)


def utterance_mels(logmel: LogMel, pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Features of an utterance that give ``ceil(N / 640)`` encoder frames: its end is padded as the runtime pads it.

    Returns:
        (4 · frames + 3, 80) float16.
    """
    frames = -(-len(pcm) // FRAME_SAMPLES)
    padded = np.zeros(frames * FRAME_SAMPLES + OVERLAP_SAMPLES, dtype=np.float32)
    padded[: len(pcm)] = pcm
    with torch.inference_mode():
        mels = logmel(torch.from_numpy(padded)[None])[0, : 4 * frames + 3]
    half: npt.NDArray[np.float16] = mels.numpy().astype(np.float16)
    return half


def feature_path(prepared: Path, split: str, corpus: str, speed: float) -> Path:
    """Where a prepared folder keeps the features of a corpus at a speed.

    Example:
        >>> feature_path(Path("prepared"), "train", "kathleen", 0.95).name
        'train-kathleen-0.95.f16'
    """
    return prepared / "features" / f"{split}-{corpus}-{float(speed)}.f16"


def fingerprint(cuts: Iterable[MonoCut]) -> str | None:
    """SHA-256 over the id, the duration and the size of the audio file of every utterance, in any order.

    None where an audio file is not there any more: features may be kept without it.
    """
    rows = []
    for cut in cuts:
        try:
            size = Path(cut.recording.sources[0].source).stat().st_size
        except OSError:
            return None
        rows.append(json.dumps([cut.id, cut.duration, size]))
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def cache_features(
    cuts: CutSet, path: Path, speed: float = 1.0, tick: Callable[[float], None] = lambda _: None
) -> None:
    """Writes ``path`` (raw float16 rows) and ``path`` + ``.json`` (id → first row, rows); finished ones are left alone.

    The index is renamed into place last: an interrupted run begins that file again. ``path`` + ``.source`` holds the
    recordings' fingerprint: others under the same ids are done again. Older files without one are believed, and so are
    finished ones whose audio is not there any more.

    Args:
        cuts: a corpus.
        path: the file to write.
        speed: speed perturbation factor.
        tick: called with the seconds of audio done after each utterance.

    Raises:
        DataError: audio cannot be read; what was there stays.
    """
    index_path, source_path = (path.with_name(path.name + suffix) for suffix in (".json", ".source"))
    source = fingerprint(cuts)
    if index_path.exists():
        known = source_path.read_text() if source is not None and source_path.exists() else source
        if known == source and set(json.loads(index_path.read_text())) == {cut.id for cut in cuts}:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    logmel, index, row = LogMel(), {}, 0
    with part.open("wb") as file:
        for cut in cuts:
            mels = utterance_mels(logmel, read_audio(cut.recording.sources[0].source, speed))
            file.write(mels.tobytes())
            index[cut.id] = [row, len(mels)]
            row += len(mels)
            tick(cut.duration)
    index_path.unlink(missing_ok=True)  # what it says is over
    os.replace(part, path)
    replace_file(source_path, (source or "").encode())
    replace_file(index_path, json.dumps(index).encode())


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all; a hard link to what was there before keeps it."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


class MelStore:
    """Cached features of several corpora, read through memory maps.

    Raises:
        DataError: a file is missing or does not fit its index, or two corpora have different audio under one id. The
            same audio may be in both, as LibriSpeech's parts hold the smaller ones of mini-LibriSpeech.

    Example:
        >>> store = MelStore([Path("cache/kathleen-1.0.f16")])  # doctest: +SKIP
        >>> store["kathleen/arctic_a0001", 1.0].shape  # doctest: +SKIP
        (331, 80)
    """

    def __init__(self, paths: Iterable[Path], bins: int = 80) -> None:
        self._maps: list[npt.NDArray[np.float16]] = []
        self._index: dict[str, tuple[int, int, int]] = {}
        for path in paths:
            try:
                index = json.loads(path.with_name(path.name + ".json").read_text())
                rows = np.memmap(path, dtype=np.float16, mode="r").reshape(-1, bins)
            except (OSError, ValueError) as error:
                raise DataError(f"feature file {str(path)!r} cannot be read: {error}") from error
            if sum(n for _, n in index.values()) != len(rows):
                raise DataError(
                    f"feature file {str(path)!r} has {len(rows)} rows, its index another number: make it again"
                )
            key = path.stem.rsplit("-", 1)[1]
            for name, (first, n) in index.items():
                other = self._index.setdefault(f"{name}@{key}", (len(self._maps), first, n))
                if other[0] < len(self._maps) and not np.array_equal(self._rows(other), rows[first : first + n]):
                    raise DataError(
                        f"feature file {str(path)!r} and one before it have different audio under the id {name!r}: "
                        "ids must be unique over all corpora of a run"
                    )
            self._maps.append(rows)

    def _rows(self, place: tuple[int, int, int]) -> npt.NDArray[np.float16]:
        which, first, n = place
        return self._maps[which][first : first + n]

    def check(self, cuts: Iterable[MonoCut], speeds: Iterable[float]) -> None:
        """Checks that all utterances are there at all speeds; DataError naming the first that isn't."""
        wanted = [float(speed) for speed in speeds]
        for cut in cuts:
            for speed in wanted:
                if f"{cut.recording.id}@{speed}" not in self._index:
                    raise DataError(
                        f"the features of {cut.recording.id!r} at speed {speed:g} are missing: run "
                        "scripts/prepare_data.py again"
                    )

    def get(self, name: str, speed: float = 1.0) -> npt.NDArray[np.float16]:
        """Features (T, 80) of one utterance; KeyError where it was not cached."""
        return self._rows(self._index[f"{name}@{float(speed)}"])

    def __len__(self) -> int:
        return len(self._index)

    def keys(self) -> Iterator[str]:
        """``id@speed`` of everything cached."""
        return iter(self._index)

    def mean_and_std(
        self, sample: int = 2000, seed: int = 0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation per mel bin over a random sample of utterances: two (80,) arrays."""
        names = sorted(self._index)
        chosen = np.random.default_rng(seed).permutation(len(names))[:sample]
        total, square, count = np.zeros(80), np.zeros(80), 0
        for i in chosen:
            mels = self._rows(self._index[names[i]]).astype(np.float64)
            total += mels.sum(axis=0)
            square += (mels * mels).sum(axis=0)
            count += len(mels)
        mean = total / count
        return mean.astype(np.float32), np.sqrt(np.maximum(square / count - mean * mean, 1e-4)).astype(np.float32)
