"""Calibrate a bundle: find thresholds on a development set and write them to its `policy.json`.

    python scripts/calibrate.py MODEL_DIR DATA [--max-relative-wer-loss 0.02] [--criterion frame_entropy]

DATA is a folder in LibriSpeech's layout or a `.jsonl` manifest, never training data. For each chunk size all
exits run once; the sweep over thresholds is a gather of that pass. Thresholds belong to the graphs that were
measured: calibrate again after each export.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge_asr.bundle.bundle import Bundle
from edge_asr.cli.console import command, progress
from edge_asr.cli.options import Debug, Precision, Threads
from edge_asr.evaluation.calibration import (
    Calibrated,
    calibrate,
    policy_document,
    without_policy,
    write_policy,
)
from edge_asr.evaluation.dataset import load_dataset, sample
from edge_asr.evaluation.evaluate import exit_costs
from edge_asr.evaluation.recording import record
from edge_asr.exits.criterion import get_criterion
from edge_asr.runtime.recognizer import Recognizer


@command
def main(
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="The bundle's folder.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="LibriSpeech-layout folder or .jsonl manifest.")],
    max_relative_wer_loss: Annotated[
        float, typer.Option(help="Allowed loss against full depth, as a fraction: 0.02 is 2 % more errors.")
    ] = 0.02,
    criterion: Annotated[str, typer.Option(help="How sure an exit is.")] = "frame_entropy",
    subset: Annotated[str | None, typer.Option(help="A folder in DATA.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only a sample of N, spread over all speakers.")] = None,
    seed: Annotated[int, typer.Option(help="Which sample.")] = 0,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Find thresholds on a development set and write them to the bundle's policy.json."""
    rule = get_criterion(criterion)
    utterances = sample(load_dataset(data, subset), limit, seed)
    with without_policy(model_dir):
        recognizer = Recognizer.load(model_dir, precision=precision, threads=threads)
    bundle = recognizer.bundle
    results: dict[str, Calibrated] = {}
    for chunk in bundle.spec.chunk_names:
        with progress(f"chunk {chunk}", len(utterances)) as tick:
            recordings = []
            for utterance in utterances:
                recordings.append(record(recognizer, utterance, chunk))
                tick()
        results[chunk] = calibrate(
            recordings,
            rule,
            exit_costs(bundle, chunk),
            recognizer.tokens,
            blank=bundle.spec.tokens.blank,
            max_relative_wer_loss=max_relative_wer_loss,
        )
    notes = {
        "data": data.name if subset is None else f"{data.name}/{subset}",
        "utterances": len(utterances),
        "max_relative_wer_loss": max_relative_wer_loss,
        "points": {chunk: result.as_json() for chunk, result in results.items()},
    }
    write_policy(bundle.path / "policy.json", policy_document(bundle, recognizer.precision, criterion, results, notes))
    Bundle.load(model_dir)  # what was written can be read
    Console(highlight=False).print(table(results))


def table(results: dict[str, Calibrated]) -> Table:
    """The chosen point of each chunk size beside full depth."""
    rows = Table()
    for name in ("chunk", "threshold", "WER %", "at full depth", "mean exit", "MMAC/s", "at full depth"):
        rows.add_column(name, justify="right")
    for chunk, result in results.items():
        chosen, full = result.chosen, result.full_depth
        rows.add_row(
            chunk,
            f"{chosen.threshold:.4g}",
            f"{100 * chosen.wer:.2f}",
            f"{100 * full.wer:.2f}",
            f"{chosen.mean_exit:.2f}",
            f"{chosen.mean_macs_per_second / 1e6:.1f}",
            f"{full.mean_macs_per_second / 1e6:.1f}",
        )
    return rows


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
