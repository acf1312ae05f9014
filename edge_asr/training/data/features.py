"""Log-mel features cached on disk: half precision, memory-mapped, one file a corpus and speed."""

from __future__ import annotations

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
    from lhotse import CutSet

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


def cache_features(
    cuts: CutSet, path: Path, speed: float = 1.0, tick: Callable[[float], None] = lambda _: None
) -> None:
    """Writes ``path`` (raw float16 rows) and ``path`` + ``.json`` (id → first row, rows); finished ones are left alone.

    The index is renamed into place last: an interrupted run begins that file again.

    Args:
        cuts: a corpus.
        path: the file to write.
        speed: speed perturbation factor.
        tick: called with the seconds of audio done after each utterance.
    """
    index_path = path.with_name(path.name + ".json")
    if index_path.exists():
        index = json.loads(index_path.read_text())
        if set(index) == {cut.id for cut in cuts}:
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
    os.replace(part, path)
    part_index = index_path.with_name(index_path.name + ".part")
    part_index.write_text(json.dumps(index))
    os.replace(part_index, index_path)


class MelStore:
    """Cached features of several corpora, read through memory maps.

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
                self._index[f"{name}@{key}"] = (len(self._maps), first, n)
            self._maps.append(rows)

    def get(self, name: str, speed: float = 1.0) -> npt.NDArray[np.float16]:
        """Features (T, 80) of one utterance; KeyError where it was not cached."""
        which, first, n = self._index[f"{name}@{speed:.1f}"]
        return self._maps[which][first : first + n]

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
            which, first, n = self._index[names[i]]
            mels = self._maps[which][first : first + n].astype(np.float64)
            total += mels.sum(axis=0)
            square += (mels * mels).sum(axis=0)
            count += n
        mean = total / count
        return mean.astype(np.float32), np.sqrt(np.maximum(square / count - mean * mean, 1e-4)).astype(np.float32)
