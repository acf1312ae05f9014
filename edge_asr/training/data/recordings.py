"""Somebody's own recordings, made into a training part and a part held back, for fine-tuning."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut

from edge_asr.errors import DataError, OptionError
from edge_asr.training.data.corpus import AUDIO_SUFFIXES, read_corpus
from edge_asr.training.data.unpack import Prepared

NAME = "own"


def read_recordings(source: Path, clean: Callable[[str], str], scratch: Path) -> list[MonoCut]:
    """Read recordings and their texts.

    Args:
        source: a folder with audio files, at any depth, and beside each ``NAME.wav`` (flac, opus, ogg, mp3) its text in
            ``NAME.txt``; or what `read_corpus` takes: LibriSpeech's layout, or a ``.jsonl`` manifest.
        clean: makes a text upper-case A to Z, apostrophe and space.
        scratch: folder for a manifest.

    Raises:
        DataError: there are no recordings, a text is missing, or nothing of it is left when it is cleaned.
    """
    pairs = source.is_dir() and next(source.rglob("*.trans.txt"), None) is None
    cuts = read_corpus(_manifest(source, scratch) if pairs else source)
    for cut in cuts:
        supervision = cut.supervisions[0]
        supervision.text = clean(supervision.text)
        if not supervision.text:
            raise DataError(f"recording {cut.id!r}: nothing is left of its text when it is cleaned to A to Z")
    return list(cuts)


def split_recordings(
    source: Path, out: Path, clean: Callable[[str], str], *, held_back: float = 0.15, seed: int = 0
) -> list[Prepared]:
    """Write ``out/train/own`` and ``out/dev/own``: a random part of the recordings is held back and never trained on.

    Args:
        source: see `read_recordings`.
        out: the prepared folder.
        clean: see `read_recordings`.
        held_back: share of the recordings.
        seed: another seed holds others back.

    Returns:
        What was written: the training part and the part held back.

    Raises:
        DataError: see `read_recordings`; fewer than two recordings.
        OptionError: the share is not between 0 and 1.

    Example:
        >>> split_recordings(Path("my-recordings"), Path("prepared"), str.upper)  # doctest: +SKIP
    """
    if not 0 < held_back < 1:
        raise OptionError(f"held-back share is {held_back}; allowed: above 0, below 1")
    out.mkdir(parents=True, exist_ok=True)
    cuts = read_recordings(source, clean, out)
    if len(cuts) < 2:
        raise DataError(f"recordings {str(source)!r}: there is one; at least two are needed, one to be held back")
    order = np.random.default_rng(seed).permutation(len(cuts))
    dev = set(order[: min(len(cuts) - 1, max(1, round(held_back * len(cuts))))].tolist())
    result = []
    for split in ("train", "dev"):
        part = [cut for i, cut in enumerate(cuts) if (i in dev) == (split == "dev")]
        folder = out / split / NAME
        folder.mkdir(parents=True, exist_ok=True)
        CutSet.from_cuts(part).to_file(folder / "cuts.jsonl.gz")
        speakers = {cut.supervisions[0].speaker for cut in part}
        hours = sum(cut.duration for cut in part) / 3600
        result.append(Prepared(NAME, split, len(part), hours, len(speakers), "", ""))
    return result


def write_manifest(cuts: CutSet, path: Path) -> None:
    """Write a ``.jsonl`` manifest that ``edge-asr eval`` and ``edge-asr calibrate`` read; audio stays where it is.

    Args:
        cuts: whole recordings.
        path: the manifest; audio is named relative to its folder.
    """
    lines = []
    for cut in cuts:
        audio = os.path.relpath(cut.recording.sources[0].source, path.parent)
        supervision = cut.supervisions[0]
        entry = {"id": cut.id, "audio": audio, "text": supervision.text, "speaker": supervision.speaker}
        lines.append(json.dumps(entry | {"duration": cut.duration}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _manifest(source: Path, scratch: Path) -> Path:
    """A manifest of a folder with a text file beside each audio file."""
    lines = []
    for audio in sorted(p for p in source.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES):
        text = audio.with_suffix(".txt")
        if not text.is_file():
            raise DataError(f"recording {str(audio)!r}: its text {text.name!r} is not beside it")
        try:
            words = " ".join(text.read_text(encoding="utf-8-sig").split())
        except UnicodeDecodeError as error:
            raise DataError(f"{text}: not UTF-8 text (byte {error.start})") from error
        name = audio.relative_to(source).with_suffix("").as_posix()
        lines.append(json.dumps({"id": name, "audio": str(audio.resolve()), "text": words, "speaker": NAME}))
    if not lines:
        raise DataError(f"folder {str(source)!r} holds no audio ({', '.join(AUDIO_SUFFIXES)})")
    path = scratch / f"{NAME}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
