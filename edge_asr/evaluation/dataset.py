"""Data sets for evaluation: LibriSpeech-layout folders and `.jsonl` manifests, and seeded samples of them.

Nothing here needs torch or lhotse, so that a device can be measured with the plain install.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_asr.errors import AudioError, AudioNotFoundError, DataError, OptionError

AUDIO_ENDINGS = (".flac", ".wav", ".opus", ".ogg", ".mp3")
HEAD_BYTES = 1 << 16
"""How much of each file `audio_identity` reads."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording and what is said in it.

    Args:
        id: unique in its data set.
        audio: the audio file.
        text: the reference text, as the data set spells it.
        speaker: the speaker's name; empty if unknown.
        duration: seconds of audio, if the data set says so.
    """

    id: str
    audio: Path
    text: str
    speaker: str = ""
    duration: float | None = None


def load_dataset(data: str | Path, subset: str | None = None) -> list[Utterance]:
    """Read a data set.

    Args:
        data: a folder in LibriSpeech's layout (`*.trans.txt` beside the audio, at any depth) or a
            `.jsonl` manifest.
        subset: the name of a folder in `data`, such as `dev-clean`; `data` may also be that folder itself, or
            hold it inside a folder `LibriSpeech`, as the corpus unpacks.

    Returns:
        The utterances in the order of the manifest, or by path and line.

    Raises:
        DataError: there is no such file or folder, it holds no utterances, or a line in it is malformed; the
            message names the file and the line.
        OptionError: a subset of a manifest was asked for.

    Example:
        >>> len(load_dataset("samples/manifest.jsonl"))
        5
    """
    path = Path(data)
    if not path.exists():
        raise DataError(f"data {str(path)!r} not found; expected a LibriSpeech-layout folder or a .jsonl manifest")
    if path.is_dir():
        return read_librispeech(_subset_folder(path, subset))
    if path.suffix != ".jsonl":
        raise DataError(f"data {str(path)!r} is neither a folder nor a .jsonl manifest")
    if subset is not None:
        raise OptionError(f"subset {subset!r} of a manifest ({path}); allowed only with a LibriSpeech-layout folder")
    return read_manifest(path)


def read_librispeech(folder: Path) -> list[Utterance]:
    """Read every `*.trans.txt` below a folder; beside it lies the audio, `<id>` with one of `AUDIO_ENDINGS`.

    Raises:
        DataError: as for `load_dataset`.
    """
    utterances: list[Utterance] = []
    for transcript in sorted(folder.rglob("*.trans.txt")):
        for number, line in enumerate(_read_lines(transcript), start=1):
            if line.strip():
                utterances.append(_librispeech_utterance(transcript, number, line))
    if not utterances:
        raise DataError(f"no utterances in {str(folder)!r}: no *.trans.txt with text in it or below it")
    _check_unique(utterances, str(folder))
    return utterances


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest: one object `{"id", "audio", "text"[, "speaker"][, "duration"]}` a line.

    `audio` is relative to the manifest. Other keys are ignored, empty lines are skipped.

    Raises:
        DataError: as for `load_dataset`.
    """
    utterances = [
        _manifest_utterance(path, number, line)
        for number, line in enumerate(_read_lines(path), start=1)
        if line.strip()
    ]
    if not utterances:
        raise DataError(f"no utterances in {str(path)!r}: the manifest is empty")
    _check_unique(utterances, str(path))
    return utterances


def sample(utterances: Sequence[Utterance], limit: int | None, seed: int = 0) -> list[Utterance]:
    """Take a seeded sample that is spread over all speakers.

    The speakers are shuffled and give one of their (shuffled) utterances in turn until there are enough.
    The sample depends on the ids and the seed alone, not on the order of `utterances`, and a larger sample
    with the same seed holds the smaller one.

    Args:
        utterances: the whole data set.
        limit: the size of the sample; None, or a number beyond the data set's size, means everything.
        seed: another seed is another sample.

    Returns:
        The sample, in the order of `utterances`.

    Raises:
        OptionError: the limit is below 1.

    Example:
        >>> data = [Utterance(f"{s}-{i}", Path("x.flac"), "A", s) for s in "abc" for i in range(9)]
        >>> sorted(u.speaker for u in sample(data, 6))
        ['a', 'a', 'b', 'b', 'c', 'c']
    """
    if limit is None:
        return list(utterances)
    if limit < 1:
        raise OptionError(f"limit is {limit}; allowed: 1 or more")
    shuffle = random.Random(seed)
    queues: dict[str, list[str]] = {}
    for utterance in sorted(utterances, key=lambda u: (u.speaker, u.id)):
        queues.setdefault(utterance.speaker, []).append(utterance.id)
    turns = list(queues.values())
    shuffle.shuffle(turns)
    for queue in turns:
        shuffle.shuffle(queue)
    order = [queue[turn] for turn in range(max(map(len, turns), default=0)) for queue in turns if turn < len(queue)]
    taken = set(order[:limit])
    return [utterance for utterance in utterances if utterance.id in taken]


def identity(utterances: Sequence[Utterance]) -> str:
    """The identity of a data set: SHA-256 over the lines `<id>\\t<text>` in the order of ids.

    Returns:
        64 hexadecimal digits.
    """
    lines = sorted(f"{utterance.id}\t{utterance.text}\n" for utterance in utterances)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def audio_identity(utterances: Iterable[Utterance]) -> str:
    """The identity of a data set's audio: SHA-256 over each file's size and first 64 KiB, in the order of ids.

    A noisy or re-encoded copy of the same utterances has another one; `identity` is the same for both.

    Returns:
        64 hexadecimal digits.

    Raises:
        AudioNotFoundError, AudioError: a file is not there, or cannot be read.
    """
    digest = hashlib.sha256()
    for utterance in sorted(utterances, key=lambda u: u.id):
        try:
            size = utterance.audio.stat().st_size
            with utterance.audio.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except FileNotFoundError as error:
            raise AudioNotFoundError(f"audio file {str(utterance.audio)!r} not found") from error
        except OSError as error:
            raise AudioError(f"audio file {str(utterance.audio)!r} cannot be read: {error.strerror}") from error
        digest.update(f"{utterance.id}\t{size}\t{hashlib.sha256(head).hexdigest()}\n".encode())
    return digest.hexdigest()


def _subset_folder(folder: Path, subset: str | None) -> Path:
    if subset is None:
        return folder
    for candidate in (folder / subset, folder / "LibriSpeech" / subset):
        if candidate.is_dir():
            return candidate
    if folder.resolve().name == subset:
        return folder
    there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    raise DataError(f"subset {subset!r} not found in {str(folder)!r}; there: {', '.join(there) or 'no folders'}")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _librispeech_utterance(transcript: Path, number: int, line: str) -> Utterance:
    name, _, text = line.strip().partition(" ")
    if not text.strip():
        raise DataError(f"{transcript}:{number}: expected '<id> <text>', got {line.strip()!r}")
    for ending in AUDIO_ENDINGS:
        audio = transcript.parent / f"{name}{ending}"
        if _is_file(audio, f"{transcript}:{number}"):
            return Utterance(name, audio, text.strip(), speaker=name.partition("-")[0])
    raise DataError(f"{transcript}:{number}: no audio for {name!r} beside it ({', '.join(AUDIO_ENDINGS)})")


def _manifest_utterance(path: Path, number: int, line: str) -> Utterance:
    where = f"{path}:{number}"
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists in lists in lists
        raise DataError(f"{where}: not JSON that can be read: {error}") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where}: expected a JSON object, got {_short(entry)}")
    name, audio = _string(entry, "id", where), _string(entry, "audio", where)
    if not name or not audio:
        raise DataError(f"{where}: field {'audio' if name else 'id'!r} is empty")
    duration = entry.get("duration")
    number_given = isinstance(duration, (int, float)) and not isinstance(duration, bool)
    if duration is not None and not (number_given and 0 < duration <= sys.float_info.max):
        raise DataError(f"{where}: field 'duration' is {_short(duration)}; expected seconds above 0")
    file = path.parent / audio
    if not _is_file(file, where):
        raise DataError(f"{where}: audio file {str(file)!r} not found")
    speaker = _string(entry, "speaker", where) if entry.get("speaker") is not None else ""
    return Utterance(name, file, _string(entry, "text", where), speaker, None if duration is None else float(duration))


def _string(entry: dict[str, Any], field: str, where: str) -> str:
    if field not in entry:
        raise DataError(f"{where}: field {field!r} is missing; expected a string")
    value = entry[field]
    if not isinstance(value, str):
        raise DataError(f"{where}: field {field!r} is {_short(value)}; expected a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: field {field!r} is {_short(value)}: holds half of a surrogate pair") from None
    return value


def _is_file(path: Path, where: str) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a name that is too long
        raise DataError(f"{where}: audio file {str(path)!r} cannot be opened: {error.strerror}") from error


def _short(value: object) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # longer or deeper than can be shown
        return f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def _check_unique(utterances: Iterable[Utterance], where: str) -> None:
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            raise DataError(f"{where}: utterance id {utterance.id!r} occurs more than once")
        seen.add(utterance.id)
