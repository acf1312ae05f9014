"""`edge-asr eval`: error rate and cost of every exit, and of the model's own policy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_asr.cli.console import command, progress
from edge_asr.cli.options import (
    DEFAULT_MODEL,
    Chunk,
    ChunkSize,
    Debug,
    Decoder,
    DecoderName,
    HotwordFile,
    LmFile,
    Model,
    Precision,
    Threads,
)
from edge_asr.errors import OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from edge_asr.evaluation.evaluate import Evaluation


@command
def evaluate(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder in LibriSpeech's layout, or a .jsonl manifest.")
    ],
    subset: Annotated[
        str | None, typer.Option("--subset", metavar="NAME", help="A folder in DATA, such as dev-clean.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    decoder: DecoderName = Decoder.AUTO,
    lm: LmFile = None,
    hotwords: HotwordFile = None,
    chunk: ChunkSize = Chunk.MS_640,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the result to this file as well.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Only a sample of N, spread over all speakers."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which sample.")] = 0,
    second_pass: Annotated[
        bool, typer.Option("--second-pass", help="Also final texts from a second pass over whole sentences.")
    ] = False,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Measure word error rate and cost of every exit on a data set.

    All exits run once; fixed depths and auto (the model's thresholds) are read from that pass. Texts are
    compared in upper case, A to Z and apostrophe.
    """
    from rich.console import Console

    from edge_asr.decoding.hotwords import read_hotwords
    from edge_asr.evaluation import evaluate as evaluation
    from edge_asr.evaluation.dataset import load_dataset, sample
    from edge_asr.runtime.recognizer import Recognizer

    if json_file is not None:
        check_place(json_file)
    recognizer = Recognizer.load(model, precision=precision, threads=threads)
    phrases = [] if hotwords is None else read_hotwords(hotwords)
    prepared = recognizer.decoder(decoder.value, lm=lm)
    prepared.start(phrases)
    utterances = sample(load_dataset(data, subset), limit, seed)
    with progress("evaluating", len(utterances)) as tick:
        result = evaluation.evaluate(
            recognizer,
            utterances,
            chunk=chunk.argument,
            decoder=prepared,
            hotwords=phrases,
            second_pass=second_pass,
            tick=tick,
        )
    name = recognizer.bundle.spec.name
    console = Console(highlight=False)
    for part in (
        f"{name}, {recognizer.precision}, chunk {chunk_name(result.chunk_ms)}, decoder {prepared.name}",
        table(result),
        *notes(result),
    ):
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
    if json_file is not None:
        settings = {
            "model": name,
            "precision": recognizer.precision,
            "decoder": prepared.name,
            "hotwords": len(phrases),
            "data": str(data),
            "subset": subset,
            "limit": limit,
            "seed": seed,
        }
        write_json(json_file, result.as_json() | settings)


def chunk_name(chunk: int | str) -> str:
    """A chunk size for people."""
    return chunk if isinstance(chunk, str) else f"{chunk} ms"


def table(result: Evaluation) -> Table:
    """The result for people: a row for each exit, and one for the policy."""
    from rich.table import Table

    rows = Table()
    for name in ("exit", "WER %", "CER %", "parameters", "MMAC/s", "of full depth"):
        rows.add_column(name, justify="right")
    full = result.exits[-1].macs_per_second
    for exit in result.exits:
        rates = (percent(exit.wer), percent(exit.cer))
        rows.add_row(str(exit.exit), *rates, f"{exit.params:,}", *cost(exit.macs_per_second, full))
    rows.add_section()
    if result.auto is None:
        rows.add_row("auto", "–", "–", "–", "–", "–")
    else:
        rows.add_row("auto", percent(result.auto.wer), "", "", *cost(result.auto.mean_macs_per_second, full))
    if result.second_pass is not None:
        again = result.second_pass
        rows.add_row("and again", percent(again.wer), "", "", *cost(again.mean_macs_per_second, full))
    return rows


def percent(rate: float) -> str:
    """A fraction in percent, without the sign."""
    return f"{100 * rate:.2f}"


def cost(macs_per_second: float, full: float) -> tuple[str, str]:
    """Millions of multiply-accumulates per second of audio, and their share of full depth."""
    return f"{macs_per_second / 1e6:.1f}", f"{macs_per_second / full:.0%}" if full else "–"


def notes(result: Evaluation) -> Iterator[str]:
    """What stands below the table, a line each."""
    yield f"{result.utterances} utterances, {result.words} words, {result.duration / 60:.1f} minutes"
    if result.auto is None:
        yield "auto: no thresholds for this precision and chunk size (edge-asr calibrate makes them)"
    else:
        chunks = max(1, sum(result.auto.exit_histogram.values()))
        left = ", ".join(f"{exit}: {n / chunks:.0%}" for exit, n in result.auto.exit_histogram.items())
        yield f"auto ({result.auto.criterion}): mean exit {result.auto.mean_exit:.2f}; chunks by exit {left}"
    if result.second_pass is not None:
        again = result.second_pass
        yield f"and again (second pass): final texts better in {again.better} utterances, worse in {again.worse}"


def check_place(path: Path) -> None:
    """Say before the work, not after it, that its result cannot be written to a file.

    Raises:
        OptionError: there is no such folder, it cannot be written to, or the file is a folder.
    """
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OptionError(f"--json {str(path)!r}: there is no folder {str(path.parent)!r} to write it to")
    if path.is_dir():
        raise OptionError(f"--json {str(path)!r} is a folder; expected a file's name")
    if not os.access(folder, os.W_OK):
        raise OptionError(f"--json {str(path)!r} cannot be written: folder {str(folder)!r} allows no new files")


def write_json(path: Path, result: object) -> None:
    """Write a result in one step, so that no half of it is ever read.

    Raises:
        OptionError: it cannot be written there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OptionError(f"--json {str(path)!r} cannot be written: {error.strerror}") from error
