"""A recorded pass on disk: every exit's log-probabilities and stats, so that no sweep runs a model twice.

One ``.npz`` file (NumPy's format, nothing pickled) for each pass, named by a digest of all that its numbers depend on:
``header`` is JSON (what was run on what, and the utterances); ``log_probs`` (exits, frames, V), ``stats``
(exits, frames, 4), ``chunks`` (K, 5) int64 with utterance, piece, index, first frame and valid frames of each
chunk, ``seconds`` (K, exits).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_asr.bundle.policy import graphs_digest
from edge_asr.errors import DataError
from edge_asr.evaluation.dataset import Utterance, audio_identity, identity
from edge_asr.evaluation.recording import Corruption, RecordedChunk, Recording, record
from edge_asr.exits.stats import ChunkInfo
from edge_asr.runtime.recognizer import Recognizer

FORMAT = "edge-asr-exit-log-1"


def record_all(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    chunk: int | str,
    *,
    cache: Path | None = None,
    condition: str = "clean",
    corrupt: Corruption | None = None,
    timed: bool = True,
    threads: int = 1,
    tick: Callable[[], None] = lambda: None,
) -> list[Recording]:
    """Record a data set, or read it from a folder of logs if the same pass is there.

    Args:
        recognizer: a loaded model.
        utterances: the data set.
        chunk: chunk size in ms, or `"full"`.
        cache: a folder for logs; None records anew and keeps nothing.
        condition: a name for what `corrupt` does; part of the log's name.
        corrupt: changes the audio first.
        timed: the chunks' seconds matter: a log is read only if it was made on this machine with as many threads.
        threads: of the recogniser; looked at only if `timed`.
        tick: called after each utterance.

    Raises:
        DataError: a log in the folder cannot be read.
        AudioNotFoundError, AudioError, OptionError, NumericError: as for `record`.
    """
    header: dict[str, Any] = {}
    path = None
    if cache is not None:
        header = _header(recognizer, utterances) | {
            "chunk": str(chunk),
            "condition": condition,
            "corruption": "" if corrupt is None else corrupt.identity,
            "machine": machine(threads) if timed else "",
        }
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
        path = cache / f"{header['graphs'][:12]}-{chunk}-{condition.replace(' ', '')}-{digest[:16]}.npz"
        if path.is_file():
            return load_log(path, utterances, header)
    recordings = []
    for utterance in utterances:
        recordings.append(record(recognizer, utterance, chunk, corrupt))
        tick()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_log(path, recordings, header)
    return recordings


def _header(recognizer: Recognizer, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """What the log-probabilities of clean audio depend on, besides the chunk size."""
    spec = recognizer.bundle.spec
    fields = ("history", "look_ahead", "overlap", "step_frames", "tail_frames")
    sizes = {name: getattr(spec.encoder, name) for name in fields}
    return {
        "format": FORMAT,
        "graphs": graphs_digest(spec, recognizer.precision),
        "encoder": sizes | {"full_max_frames": spec.chunks.full_max_frames},
        "data": identity(utterances),
        "audio": audio_identity(utterances),
    }


def machine(threads: int) -> str:
    """What wall times depend on, as far as it is cheap to know: the machine's name, its processor, and the threads."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    except OSError:  # not Linux
        pass
    return f"{platform.node()}, {processor}, {os.cpu_count()} processors, {threads} threads"


def save_log(path: Path, recordings: Sequence[Recording], header: Mapping[str, Any]) -> None:
    """Write a log in one step."""
    chunks = [(u, chunk) for u, recording in enumerate(recordings) for chunk in recording.chunks]
    rows = [[u, c.piece, c.info.index, c.info.first_frame, c.info.n_valid] for u, c in chunks]
    facts = {
        **header,
        "chunk_frames": chunks[0][1].info.chunk_frames if chunks else None,
        "blank": chunks[0][1].blank if chunks else 0,
        "utterances": [{"id": r.utterance.id, "seconds": r.seconds} for r in recordings],
    }
    partial = path.with_name(path.name + ".partial.npz")
    phones = [c.phones for _, c in chunks if c.phones is not None]
    heard: dict[str, Any] = {"phones": np.concatenate(phones, axis=1)} if phones else {}
    np.savez(
        partial,
        **heard,
        header=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
        log_probs=np.concatenate([c.log_probs for _, c in chunks], axis=1),
        stats=np.concatenate([c.frames for _, c in chunks], axis=1),
        chunks=np.array(rows, dtype=np.int64),
        seconds=np.array([c.seconds for _, c in chunks], dtype=np.float64),
    )
    os.replace(partial, path)


def load_log(path: Path, utterances: Sequence[Utterance], expected: Mapping[str, Any]) -> list[Recording]:
    """Read a log.

    Args:
        path: the file.
        utterances: the data set that it must be of, in any order.
        expected: what its header must say.

    Returns:
        A recording for each utterance, in the order of `utterances`.

    Raises:
        DataError: it is not a log, is damaged, or belongs to something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["header"].tobytes())
            log_probs, stats, rows, seconds = (file[name] for name in ("log_probs", "stats", "chunks", "seconds"))
            phones = file.get("phones")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a log of exits: {error}") from error
    for key, value in expected.items():
        if facts.get(key) != value:
            raise DataError(f"{path}: {key} is {facts.get(key)!r}, expected {value!r}")
    logged: list[dict[str, Any]] = facts["utterances"]
    places = {entry["id"]: place for place, entry in enumerate(logged)}
    if sorted(entry["id"] for entry in logged) != sorted(utterance.id for utterance in utterances):
        raise DataError(f"{path}: holds other utterances than the data set")
    if log_probs.shape[:2] != stats.shape[:2] or rows[:, 4].sum() != log_probs.shape[1]:
        raise DataError(f"{path}: is damaged: {rows[:, 4].sum()} frames in chunks, {log_probs.shape[1]} recorded")
    if phones is not None and phones.shape[:2] != stats.shape[:2]:
        raise DataError(f"{path}: is damaged: {phones.shape[1]} frames of phones, {log_probs.shape[1]} of word pieces")
    if np.isnan(log_probs.max(axis=2)).any() or (phones is not None and np.isnan(phones.max(axis=2)).any()):
        raise DataError(f"{path}: is damaged: log-probabilities hold NaN")
    parts: list[list[RecordedChunk]] = [[] for _ in logged]
    start, exits = 0, len(log_probs)
    for row, times in zip(rows.tolist(), seconds.tolist(), strict=True):
        number, piece, index, first_frame, n_valid = row
        info = ChunkInfo(index, first_frame, n_valid, facts["chunk_frames"], exits)
        end = start + n_valid
        said = None if phones is None else phones[:, start:end]
        parts[number].append(
            RecordedChunk(info, stats[:, start:end], log_probs[:, start:end], piece, tuple(times), facts["blank"], said)
        )
        start = end
    return [
        Recording(utterance, logged[place]["seconds"], tuple(parts[place]))
        for utterance, place in ((utterance, places[utterance.id]) for utterance in utterances)
    ]
