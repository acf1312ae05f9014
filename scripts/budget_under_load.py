"""Measure the budget controller under real load: busy processes start in the middle of a stream.

    python scripts/budget_under_load.py FILE... [--model en-tiny] [--deadline 0.01] [--busy 4]

The files are fed as one stream, in blocks of 0.1 s, without waiting for real time. Each third of it (idle, busy,
idle again) is reported: chunk times, exits, and how many chunks missed the deadline. The last line compares the
frames that were decided with those that were fed.
"""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edge_asr.audio.reader import read_audio
from edge_asr.cli.console import command
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.recognizer import Recognizer

BLOCK = 1600


def burn() -> None:
    """Keeps a core busy until it is ended."""
    while True:
        sum(range(10_000))


@command
def main(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files.")],
    model: Annotated[str, typer.Option(help="A known model, or a bundle's folder.")] = "en-tiny",
    exit: Annotated[int, typer.Option(min=1, help="Depth without a budget.")] = 6,
    deadline: Annotated[float, typer.Option(help="Seconds for a chunk.")] = 0.012,
    busy: Annotated[int, typer.Option(min=1, help="Processes that compete.")] = 4,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Feed files as one stream while other processes come and go."""
    recognizer = Recognizer.load(model)
    controller = recognizer.controller(Budget(deadline=deadline, revisit=False), recognizer.policy(exit))
    decided: list[DecidedChunk] = []

    def observe(chunk: DecidedChunk) -> None:
        controller.observe(chunk)
        decided.append(chunk)

    stream = EncoderStream(recognizer.bundle, recognizer.engine, controller, chunk_frames=16, observe=observe)
    pcm = np.concatenate([read_audio(file) for file in files])
    blocks = [pcm[start : start + BLOCK] for start in range(0, len(pcm), BLOCK)]
    context = multiprocessing.get_context("spawn")
    for part, name in enumerate(("idle", "busy", "idle again")):
        others = [context.Process(target=burn, daemon=True) for _ in range(busy if name == "busy" else 0)]
        for other in others:
            other.start()
        if others:
            time.sleep(1.0)
        first, misses = len(decided), controller.misses
        for block in blocks[part * len(blocks) // 3 : (part + 1) * len(blocks) // 3]:
            stream.push(block)
        for other in others:
            other.terminate()
            other.join()
        report(name, decided[first:], controller.misses - misses)
    stream.flush()
    heard = sum(chunk.n_audio for chunk in decided) * recognizer.bundle.spec.frame_seconds
    typer.echo(f"fed {len(pcm) / 16_000:.2f} s, decided {heard:.2f} s")


def report(name: str, chunks: list[DecidedChunk], misses: int) -> None:
    """Print a third: all of it, and without its first ten chunks."""
    times = 1000 * np.array([sum(chunk.segment_seconds) for chunk in chunks])
    exits = np.bincount([chunk.exit for chunk in chunks], minlength=2)[1:]
    settled = np.quantile(times[10:], 0.95) if len(times) > 10 else float("nan")
    typer.echo(
        f"{name}: {len(chunks)} chunks, p50 {np.median(times):.1f} ms, p95 {np.quantile(times, 0.95):.1f} ms "
        f"(after ten chunks {settled:.1f}), missed {misses}, chunks by exit {exits.tolist()}"
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
