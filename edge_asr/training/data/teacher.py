"""A teacher's encoder states cached on disk: Whisper's, at the student's frame rate, 8 bits each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_asr.errors import DataError, MissingExtraError
from edge_asr.training.data.features import FRAME_SAMPLES, fingerprint, read_audio, replace_file

Float = npt.NDArray[np.float32]
STEPS = 24.0  # quantiser's steps in a standard deviation; 8 bits reach ±5.3 of them
LONGEST = 29.0  # seconds of audio that Whisper's 30 s window takes with its padding


class Teacher(Protocol):
    """Anything that gives states at the student's frames."""

    def states(self, pcm: Float) -> Float:
        """(N,) PCM at 16 kHz → (ceil(N / 640), S) states."""
        ...


class WhisperTeacher:
    """The encoder of a Whisper model (arXiv 2212.04356) in CTranslate2's format, through faster-whisper.

    Its states come every 20 ms; three of them around the middle of a student's frame are averaged.

    Args:
        path: folder with ``model.bin``, or a name that faster-whisper knows.
        threads: CPU threads.

    Example:
        >>> WhisperTeacher("tiny.en").states(np.zeros(16000, np.float32)).shape  # doctest: +SKIP
        (25, 384)
    """

    def __init__(self, path: str, threads: int = 1) -> None:
        try:
            import ctranslate2
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingExtraError("a Whisper teacher needs faster-whisper: pip install edge-asr[teacher]") from error
        self._view = ctranslate2.StorageView
        try:
            self._model = WhisperModel(path, device="cpu", compute_type="int8_float32", cpu_threads=threads)
        except Exception as error:  # whatever the libraries raise for a name or a folder that is no model
            raise DataError(f"teacher {path!r} is no Whisper model for faster-whisper: {error}") from error

    def states(self, pcm: Float) -> Float:
        """See ``Teacher.states``."""
        frames = -(-len(pcm) // FRAME_SAMPLES)
        padded = np.zeros((frames + 12) * FRAME_SAMPLES, dtype=np.float32)
        padded[: len(pcm)] = pcm
        mels = self._model.feature_extractor(padded)
        mels = np.ascontiguousarray(mels[None, :, : mels.shape[1] // 2 * 2], dtype=np.float32)
        out = np.array(self._model.model.encode(self._view.from_array(mels), to_cpu=True))[0]
        # State j is centred at 20 j ms, the student's frame t (mel rows 4t to 4t + 6) at 40 t + 42 ms.
        first = 2 * np.arange(frames) + 1
        mixed: Float = 0.25 * out[first] + 0.5 * out[first + 1] + 0.25 * out[first + 2]
        return mixed.astype(np.float32)


def measure(teacher: Teacher, audio: Iterable[str], path: Path, about: str = "", name: str = "") -> None:
    """Writes mean and standard deviation of each state, over recordings, to ``path`` (JSON); left alone if there.

    Args:
        teacher: gives the states.
        audio: names of recordings.
        path: the file to write.
        about: who the teacher is, for the cards of models that learn from it.
        name: of the teacher; statistics under another name are refused.

    Raises:
        DataError: ``path`` has another teacher's statistics, or cannot be read.
    """
    if path.exists():
        known = _statistics(path).get("name", "")
        if known and name and known != name:
            folder = str(path.parent)
            raise DataError(
                f"folder {folder!r} holds states of the teacher {known!r}, not of {name!r}: remove it first"
            )
        return
    rows = np.concatenate([teacher.states(read_audio(recording)) for recording in audio])
    values = {"mean": rows.mean(axis=0).tolist(), "std": rows.std(axis=0).clip(1e-3).tolist()}
    values = {"about": about, "name": name} | values
    replace_file(path, json.dumps(values).encode())


def cache_states(
    teacher: Teacher, cuts: Iterable[Any], statistics: Path, path: Path, tick: Callable[[float], None] = lambda _: None
) -> None:
    """Writes ``path`` (raw int8 rows of normalised states) and ``path`` + ``.json`` (id → first row, rows).

    Finished files are left alone, unless the recordings have changed; an interrupted run begins its file again.
    Utterances longer than 29 s are left out.

    Args:
        teacher: gives the states.
        cuts: a corpus.
        statistics: what ``measure`` wrote.
        path: the file to write.
        tick: called with the seconds of audio done after each utterance.
    """
    index_path, cuts = path.with_name(path.name + ".json"), list(cuts)
    source = fingerprint(cuts)
    if index_path.exists():
        head = _index(path)
        if (source is None or head.get("source", source) == source) and set(head["index"]) == {
            c.id for c in cuts if c.duration <= LONGEST
        }:
            return
    values = _statistics(statistics)
    mean, std = (np.array(values[name], np.float32) for name in ("mean", "std"))
    part, index, row = path.with_name(path.name + ".part"), {}, 0
    with part.open("wb") as file:
        for cut in cuts:
            if cut.duration <= LONGEST:
                states = (teacher.states(read_audio(cut.recording.sources[0].source)) - mean) / std
                file.write(np.clip(np.rint(states * STEPS), -127, 127).astype(np.int8).tobytes())
                index[cut.id] = [row, len(states)]
                row += len(states)
            tick(cut.duration)
    index_path.unlink(missing_ok=True)  # what it says is over
    os.replace(part, path)
    replace_file(index_path, json.dumps({"dim": len(mean), "source": source, "index": index}).encode())


class StateStore:
    """Cached states of several corpora, read through memory maps.

    Attributes:
        dim: width of a state.
        about: who the teacher is; empty if it was not said.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.dim, self.about = 0, ""
        self._maps: list[npt.NDArray[np.int8]] = []
        self._index: dict[str, tuple[int, int, int]] = {}
        for path in paths:
            head = _index(path)
            dim, index = head["dim"], head["index"]
            try:
                rows = np.memmap(path, dtype=np.int8, mode="r").reshape(-1, dim)
            except (OSError, ValueError) as error:
                raise DataError(f"file of teacher states {str(path)!r} cannot be read: {error}") from error
            if sum(n for _, n in index.values()) != len(rows) or self.dim not in (0, dim):
                raise DataError(f"file of teacher states {str(path)!r} does not fit its index or its neighbours")
            self.dim = dim
            for name, (first, n) in index.items():
                other = self._index.setdefault(name, (len(self._maps), first, n))
                if other[2] != n:
                    raise DataError(
                        f"file of teacher states {str(path)!r} and one before it have different audio under the id "
                        f"{name!r}: ids must be unique over all corpora of a run"
                    )
            self._maps.append(rows)

    @classmethod
    def open(cls, prepared: Path, corpora: list[str]) -> StateStore:
        """Those of the corpora that were asked of the teacher; DataError if none was."""
        paths = [prepared / "teacher" / f"{name}.i8" for name in corpora]
        there = [path for path in paths if path.with_name(path.name + ".json").exists()]
        if not there:
            raise DataError(f"folder {str(prepared / 'teacher')!r} holds no teacher states: run scripts/teach.py first")
        store = cls(there)
        statistics = prepared / "teacher" / "statistics.json"
        if statistics.exists():
            store.about = str(_statistics(statistics).get("about", ""))
        return store

    def get(self, name: str, speed: float = 1.0) -> Float | None:
        """States (T, S) of unit variance of an utterance at a speed, None if it has none.

        Frames of a faster or slower copy fall between those that were cached: the two neighbours are mixed.
        """
        if name not in self._index:
            return None
        which, first, n = self._index[name]
        rows: Float = self._maps[which][first : first + n].astype(np.float32) / STEPS
        if speed == 1.0:
            return rows
        place = np.minimum(np.arange(-(-n // speed), dtype=np.float32) * speed, n - 1)
        low = place.astype(np.int64)
        share = (place - low)[:, None].astype(np.float32)
        mixed: Float = rows[low] * (1 - share) + rows[np.minimum(low + 1, n - 1)] * share
        return mixed


def _statistics(path: Path) -> dict[str, Any]:
    return _json(path, "statistics of teacher states", ("mean", "std"))


def _index(path: Path) -> dict[str, Any]:
    return _json(path.with_name(path.name + ".json"), "file of teacher states", ("dim", "index"))


def _json(path: Path, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
        return dict(values) | {name: values[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{what} {str(path)!r} cannot be read: {error!r}") from error
