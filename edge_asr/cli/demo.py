"""`edge-asr demo`: recordings with known text, what is recognised, and where each chunk left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_asr.cli.console import command
from edge_asr.cli.options import AUTO, DEFAULT_MODEL, Chunk, ChunkSize, Debug, Exit, Model, Precision, Threads

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edge_asr.runtime.transcript import Transcript

# From shallow (cheap) to deep, told apart by hue and by lightness.
COLOURS = ("#1a9850", "#91cf60", "#d9ef8b", "#fee08b", "#fc8d59", "#d73027")


@command
def demo(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A .jsonl manifest, or a folder in LibriSpeech's layout.")
    ],
    model: Model = DEFAULT_MODEL,
    exit: Exit = AUTO,
    chunk: ChunkSize = Chunk.MS_640,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Transcribe recordings with known text, and show where each chunk left.

    One cell stands for one chunk, with the number of its exit; the colour is the depth.
    """
    from rich.console import Console
    from rich.text import Text

    from edge_asr.evaluation.dataset import load_dataset
    from edge_asr.evaluation.wer import ErrorCount, word_errors
    from edge_asr.runtime.recognizer import Recognizer

    utterances = load_dataset(data)
    recognizer = Recognizer.load(model, precision=precision, threads=threads)
    depth = recognizer.bundle.spec.encoder.exits
    console = Console(highlight=False)
    console.print(Text(f"{recognizer.bundle.spec.name}, {recognizer.precision}, chunk {chunk.value}, exit {exit}"))
    console.print(Text("exits: ") + cells(range(1, depth + 1), depth) + Text(" shallow (cheap) to deep\n"))
    total, duration, seconds, weighted, frames = ErrorCount(), 0.0, 0.0, 0, 0
    for utterance in utterances:
        transcript = recognizer.transcribe(utterance.audio, chunk=chunk.argument, exit=exit)
        errors = word_errors(utterance.text, transcript.text)
        console.print(Text(utterance.audio.name, style="bold"))
        console.print(described(transcript, utterance.text, errors.rate, depth))
        console.print()
        total += errors
        duration += transcript.duration
        seconds += transcript.seconds
        weighted += sum(part.exit * part.frames for part in transcript.chunks)
        frames += sum(part.frames for part in transcript.chunks)
    summary = (
        f"total: {len(utterances)} recordings, {duration:.1f} s   WER {total.rate:.1%} "
        f"({total.errors} errors in {total.reference} words)   mean exit {weighted / max(1, frames):.2f}   "
        f"real-time factor {seconds / duration:.3f}"
    )
    console.print(Text(summary, style="bold"), soft_wrap=True)


def described(transcript: Transcript, reference: str, wer: float, depth: int) -> Table:
    """What there is to say about one recording, a row each."""
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_row("  text", transcript.text)
    rows.add_row("  reference", reference.lower())
    rows.add_row("  WER", f"{wer:.1%}")
    rows.add_row("  exits", cells([part.exit for part in transcript.chunks], depth))
    rows.add_row("  mean exit", f"{transcript.mean_exit:.2f}")
    speed = f"{transcript.rtf:.3f} ({transcript.seconds:.2f} s for {transcript.duration:.1f} s of audio)"
    rows.add_row("  real-time factor", speed)
    return rows


def cells(exits: Sequence[int], depth: int) -> Text:
    """One cell for each exit, coloured by depth; without colours the numbers stand alone.

    Args:
        exits: exits from 1.
        depth: how many exits the model has.
    """
    from rich.text import Text

    line = Text()
    for exit in exits:
        place = 0 if depth == 1 else round((exit - 1) * (len(COLOURS) - 1) / (depth - 1))
        line.append(f" {exit} ", style=f"black on {COLOURS[place]}")
    return line
