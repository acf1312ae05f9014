"""`edge-asr transcribe`: audio files to text."""

from __future__ import annotations

import json
import os
import traceback
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_asr.cli.console import command, report
from edge_asr.cli.options import (
    AUTO,
    DEFAULT_MODEL,
    Chunk,
    ChunkSize,
    Debug,
    Decoder,
    DecoderName,
    Exit,
    HotwordFile,
    LmFile,
    Model,
    Precision,
    Threads,
)
from edge_asr.errors import AudioError, AudioNotFoundError, NumericError, OptionError

if TYPE_CHECKING:
    from edge_asr.runtime.transcript import Transcript

# Errors of one file: the next one may be fine. Other errors would only come again.
OF_ONE_FILE = (AudioError, AudioNotFoundError, NumericError)


class Format(str, Enum):
    """Output formats."""

    TXT = "txt"
    JSON = "json"


@command
def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files of any format and rate.")],
    model: Model = DEFAULT_MODEL,
    decoder: DecoderName = Decoder.AUTO,
    lm: LmFile = None,
    hotwords: HotwordFile = None,
    nbest: Annotated[
        int, typer.Option("--nbest", min=1, max=100, metavar="N", help="Alternatives of each text, in json.")
    ] = 1,
    exit: Exit = AUTO,
    chunk: ChunkSize = Chunk.MS_640,
    output: Annotated[
        Format, typer.Option("--format", help="txt: one line a file; json: one object a line.")
    ] = Format.TXT,
    second_pass: Annotated[
        bool, typer.Option("--second-pass", help="At each pause run the deeper segments again, over the whole piece.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="rtf=0.2", help="Leave earlier to stay within rtf, deadline (s) or mean_rtf."),
    ] = None,
    monitor: Annotated[
        Path | None, typer.Option("--monitor", metavar="JSON", help="Write counts of exits, times and surety here.")
    ] = None,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Transcribe audio files.

    Each file's text is printed as soon as it is known, after the file's name if there are several. A file
    that cannot be read is reported and the others go on; the exit code is 1 then.
    """
    from edge_asr.decoding.hotwords import read_hotwords
    from edge_asr.runtime.budget import Budget
    from edge_asr.runtime.recognizer import Recognizer

    if monitor is not None and not monitor.parent.is_dir():
        raise OptionError(f"--monitor {str(monitor)!r} cannot be written: {str(monitor.parent)!r} is no folder")
    limits = None if budget is None else Budget.parse(budget)
    recognizer = Recognizer.load(model, precision=precision, threads=threads, budget=limits)
    # An option that the model does not allow is said before any file.
    recognizer.policy(exit, chunk.argument)
    phrases = [] if hotwords is None else read_hotwords(hotwords)
    prepared = recognizer.decoder(decoder.value, lm=lm)
    prepared.start(phrases)
    if unspoken := prepared.unspoken(phrases):
        what = "word pieces are read instead of phones, which costs accuracy (scripts/pronounce.py --hotwords helps)"
        typer.echo(f"note: no pronunciation of {', '.join(unspoken)}: {what}", err=True)
    failed = False
    try:
        for file in files:
            name = os.fsencode(file).decode(errors="replace")
            try:
                transcript = recognizer.transcribe(
                    file,
                    chunk=chunk.argument,
                    exit=exit,
                    decoder=prepared,
                    hotwords=phrases,
                    nbest=nbest,
                    second_pass=second_pass,
                )
            except OF_ONE_FILE as error:
                failed = True
                if debug:
                    traceback.print_exc()
                report(error)
                continue
            if output is Format.JSON:
                line = json.dumps(as_json(name, transcript, prepared.name), ensure_ascii=False, allow_nan=False)
            else:
                line = transcript.text if len(files) == 1 else f"{name}: {transcript.text}"
            typer.echo(line)
    finally:
        if monitor is not None and recognizer.monitor is not None:
            save(monitor, recognizer.monitor.json())
    if failed:
        raise typer.Exit(1)


def save(path: Path, text: str) -> None:
    """Write the monitor's counts.

    Raises:
        OptionError: they cannot be written there.
    """
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--monitor {str(path)!r} cannot be written: {error.strerror}") from error


def as_json(file: str, transcript: Transcript, decoder: str) -> dict[str, Any]:
    """The object that `--format json` prints for a file.

    Args:
        file: its name, as the user gave it.
        transcript: what was recognised in it.
        decoder: the decoder's name.

    Returns:
        `file`, `text`, `decoder`, `duration` and `seconds` (of audio and of computing), `rtf`, `mean_exit`, `words`,
        `chunks`, and `nbest` if there are several. A word has `start` and `end` (s), `confidence` (0 to 1) and
        `exit`; an alternative has `text` and `score` (nats).
        A chunk has `start` and `end` (s), `exit`, and `entropy` (nats) and `max_posterior`, means over its
        frames at that exit; after a second pass also `final_exit`, the exit that the text comes from.
    """
    return {
        "file": file,
        "text": transcript.text,
        "decoder": decoder,
        "duration": round(transcript.duration, 3),
        "seconds": round(transcript.seconds, 4),
        "rtf": round(transcript.rtf, 5),
        "mean_exit": round(transcript.mean_exit, 4),
        "words": [
            {
                "word": word.word,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
                "exit": word.exit,
            }
            for word in transcript.words
        ],
        "chunks": [
            {
                "start": round(chunk.start, 3),
                "end": round(chunk.end, 3),
                "exit": chunk.exit,
                "entropy": round(chunk.entropy, 6),
                "max_posterior": round(chunk.max_posterior, 6),
            }
            | ({} if chunk.final_exit is None else {"final_exit": chunk.final_exit})
            for chunk in transcript.chunks
        ],
    } | nbest_json(transcript)


def nbest_json(transcript: Transcript) -> dict[str, Any]:
    """The alternatives, if there are several."""
    if len(transcript.alternatives) < 2:
        return {}
    return {"nbest": [{"text": one.text, "score": round(one.score, 3)} for one in transcript.alternatives]}
