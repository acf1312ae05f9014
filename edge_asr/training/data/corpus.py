"""Corpora as lhotse cut sets, from the LibriSpeech layout or from ``.jsonl`` manifests."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile as sf
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from edge_asr.errors import DataError

AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")
REQUIRED = ("id", "audio", "text")


def _cut(name: str, audio: Path, text: str, speaker: str, extra: dict[str, Any]) -> MonoCut:
    audio = Path(os.path.abspath(audio))  # what is written of it must hold in any working directory
    try:
        info = sf.info(str(audio))
    except sf.LibsndfileError as error:
        raise DataError(f"audio {str(audio)!r} cannot be read: {error}") from error
    duration = info.frames / info.samplerate
    recording = Recording(
        id=name,
        sources=[AudioSource(type="file", channels=[0], source=str(audio))],
        sampling_rate=info.samplerate,
        num_samples=info.frames,
        duration=duration,
    )
    supervision = SupervisionSegment(
        id=name,
        recording_id=name,
        start=0.0,
        duration=duration,
        channel=0,
        text=text,
        speaker=speaker,
        language="English",
    )
    return MonoCut(
        id=name,
        start=0.0,
        duration=duration,
        channel=0,
        recording=recording,
        supervisions=[supervision],
        custom=extra or None,
    )


def _from_librispeech(root: Path) -> Iterator[MonoCut]:
    transcripts = sorted(root.rglob("*.trans.txt"))
    if not transcripts:
        raise DataError(
            f"folder {str(root)!r} holds no *.trans.txt file: the LibriSpeech layout is SPEAKER/CHAPTER/*.trans.txt"
        )
    for transcript in transcripts:
        for number, line in enumerate(transcript.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            name, _, text = line.strip().partition(" ")
            audio = next((p for s in AUDIO_SUFFIXES if (p := transcript.parent / (name + s)).exists()), None)
            if audio is None:
                raise DataError(
                    f"{transcript}, line {number}: no {name} with suffix {', '.join(AUDIO_SUFFIXES)} lies beside it"
                )
            if not text.strip():
                raise DataError(f"{transcript}, line {number}: {name} has no transcript")
            yield _cut(name, audio, text.strip(), name.split("-")[0], {})


def _from_jsonl(manifest: Path, root: Path) -> Iterator[MonoCut]:
    for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{manifest}, line {number}: not JSON ({error.msg})") from error
        missing = [key for key in REQUIRED if not isinstance(row, dict) or not isinstance(row.get(key), str)]
        if missing:
            raise DataError(f"{manifest}, line {number}: field {missing[0]!r} must be a string")
        if not row["text"].strip():
            raise DataError(f"{manifest}, line {number}: field 'text' is empty")
        for key in ("check", "duration"):
            value = row.get(key, 0.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise DataError(f"{manifest}, line {number}: field {key!r} is {value!r}; allowed: a number, 0 or more")
        extra = {"check": float(row["check"])} if "check" in row else {}
        yield _cut(row["id"], root / row["audio"], row["text"], str(row.get("speaker", "unknown")), extra)


def read_corpus(source: Path, audio_root: Path | None = None) -> CutSet:
    """Reads a corpus eagerly.

    Args:
        source: a folder in LibriSpeech layout (``SPEAKER/CHAPTER/*.trans.txt`` beside flac, wav, opus,
            ogg or mp3 files), or
            a ``.jsonl`` manifest whose lines hold ``id``, ``audio``, ``text`` and optionally ``speaker``
            and ``check``.
        audio_root: what ``audio`` in a manifest is relative to; the manifest's folder by default.

    Returns:
        Cuts of whole recordings, one supervision each; ``check`` goes to the cut's custom fields.

    Raises:
        DataError: the source is missing, empty or malformed; names file and line.

    Example:
        >>> cuts = read_corpus(Path("LibriSpeech/dev-clean-2"))  # doctest: +SKIP
    """
    if source.is_dir():
        cuts = list(_from_librispeech(source))
    elif source.suffix == ".jsonl" and source.is_file():
        cuts = list(_from_jsonl(source, audio_root or source.parent))
    else:
        raise DataError(
            f"corpus {str(source)!r} is neither a folder in LibriSpeech layout nor an existing .jsonl manifest"
        )
    if not cuts:
        raise DataError(f"corpus {str(source)!r} holds no utterances")
    seen: set[str] = set()
    for cut in cuts:
        if cut.id in seen:
            raise DataError(f"corpus {str(source)!r} holds the id {cut.id!r} twice: ids must be unique")
        seen.add(cut.id)
    return CutSet.from_cuts(cuts)
