"""``python scripts/log_probs.py DATA --out FILE.npz``: what a bundle's exit says about a data set, kept for decoders.

The encoder is the expensive part; with its log-probabilities kept, a decoder's weights are tuned in minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_asr.audio.reader import read_audio
from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.evaluation.dataset import load_dataset, sample
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.recognizer import Recognizer


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What was kept of one utterance.

    Attributes:
        id: The utterance.
        text: What is said in it.
        seconds: Its length.
        log_probs: (T, V) float32.
        phones: (T, P) float32 log-probabilities of phones, where the model has them.
    """

    id: str
    text: str
    seconds: float
    log_probs: npt.NDArray[np.float32]
    phones: npt.NDArray[np.float32] | None = None


class Log(NamedTuple):
    """A file's contents: utterances, the token table, the encoder's seconds, and the table of phones, if any."""

    kept: list[Kept]
    pieces: tuple[str, ...]
    encoder_seconds: float
    phones: tuple[str, ...] | None


def write(path: Path, log: Log) -> None:
    """Writes a log (log-probabilities as float16)."""
    kept, pieces, encoder_seconds, phones = log
    heard: dict[str, Any] = {}
    if phones is not None:
        said = [k.phones for k in kept if k.phones is not None]
        heard = {"phone_log_probs": np.concatenate(said).astype(np.float16), "phones": np.array(phones)}
    np.savez_compressed(
        path,
        **heard,
        ids=np.array([k.id for k in kept]),
        texts=np.array([k.text for k in kept]),
        seconds=np.array([k.seconds for k in kept]),
        frames=np.array([len(k.log_probs) for k in kept]),
        log_probs=np.concatenate([k.log_probs for k in kept]).astype(np.float16),
        pieces=np.array(pieces),
        encoder_seconds=np.array(encoder_seconds),
    )


def read(path: Path) -> Log:
    """Reads what `write` wrote.

    Raises:
        DataError: If the file isn't such a one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["frames"])[:-1]
            parts = np.split(file["log_probs"].astype(np.float32), ends)
            phones = tuple(map(str, file["phones"])) if "phones" in file else None
            said: list[npt.NDArray[np.float32] | None] = [None] * len(parts)
            if phones is not None:
                said[:] = np.split(file["phone_log_probs"].astype(np.float32), ends)
            rows = zip(file["ids"], file["texts"], file["seconds"], parts, said, strict=True)
            kept = [Kept(str(i), str(text), float(seconds), part, heard) for i, text, seconds, part, heard in rows]
            return Log(kept, tuple(map(str, file["pieces"])), float(file["encoder_seconds"]), phones)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: isn't a file of scripts/log_probs.py: {error}") from error


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="LibriSpeech-layout folder or .jsonl manifest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="en-tiny")
    parser.add_argument("--exit", type=int, help="default: the last")
    parser.add_argument("--chunk", default="640", help="ms, or full")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    try:
        recognizer = Recognizer.load(args.model)
        depth = args.exit or recognizer.bundle.spec.encoder.exits
        kept, spent = [], 0.0
        for utterance in sample(load_dataset(args.data), args.limit):
            pcm = read_audio(utterance.audio)
            policy = FixedPolicy(depth)
            chunk = recognizer.chunk_frames(args.chunk)
            started = time.perf_counter()
            stream = EncoderStream(recognizer.bundle, recognizer.engine, policy, chunk_frames=chunk)
            chunks = stream.push(pcm) + stream.flush()
            spent += time.perf_counter() - started
            log_probs = np.concatenate([c.log_probs for c in chunks])
            said = [c.phones for c in chunks if c.phones is not None]
            phones = np.concatenate(said) if said else None
            kept.append(Kept(utterance.id, utterance.text, len(pcm) / 16_000, log_probs, phones))
        table = None if recognizer.phones is None else recognizer.phones.pieces
        write(args.out, Log(kept, recognizer.tokens.pieces, spent, table))
        seconds = sum(k.seconds for k in kept)
        print(f"{len(kept)} utterances, {seconds / 60:.1f} min; encoder {1000 * spent / seconds:.1f} ms per second")
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
