"""`edge-asr calibrate`: thresholds for a wanted loss or a wanted cost, written into the model's `policy.json`."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_asr.cli.console import command, progress
from edge_asr.cli.options import Chunk, Debug, Decoder, Precision, Threads
from edge_asr.errors import DataError, OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from edge_asr.evaluation.calibration import Calibrated

MAX_LOSS = "2%"


@command
def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A known model, or a bundle's folder.")],
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="Development data, never training data: folder or .jsonl manifest."),
    ] = None,
    max_loss: Annotated[
        str | None, typer.Option("--max-loss", metavar="2%", help="More word errors than full depth (default: 2%).")
    ] = None,
    mean_macs: Annotated[
        float | None, typer.Option("--mean-macs", metavar="MMAC", help="Mean cost in MMAC per second of audio.")
    ] = None,
    rtf: Annotated[
        float | None,
        typer.Option("--rtf", metavar="X", help="Mean real-time factor of the encoder only, on this machine."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", metavar="0.9", help="Keep the loss with this probability, not just on average."),
    ] = None,
    criterion: Annotated[str, typer.Option("--criterion", help="How sure an exit is.")] = "margin",
    temperature: Annotated[bool, typer.Option("--temperature", help="Fit a temperature per exit first.")] = False,
    hysteresis: Annotated[
        float, typer.Option("--hysteresis", min=0, help="How much surer to leave earlier than the chunk before.")
    ] = 0.0,
    decoder: Annotated[
        list[Decoder] | None,
        typer.Option("--decoder", help="Whose texts judge; repeat it (default: greedy, and lm if the model has one)."),
    ] = None,
    chunks: Annotated[list[Chunk] | None, typer.Option("--chunk", help="Chunk size; repeat it (default: all).")] = None,
    from_log: Annotated[
        Path | None, typer.Option("--from-log", metavar="JSON", help="Re-calibrate from a device's monitor instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here (default: the model's policy.json).")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Keep recorded passes.")] = None,
    subset: Annotated[str | None, typer.Option("--subset", metavar="NAME", help="A folder in DATA.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only a sample of N, over all speakers.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which sample, and which halves of it.")] = 0,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Choose the thresholds of a model's exits, for exactly these files.

    All exits run once on DATA; everything else is looked up. Half of the utterances shape the thresholds, the
    other half judges them, by the texts of the decoder that the model will be used with: the bounds that are
    printed and kept are theirs. A language model mends much of what early exits get wrong, so its thresholds are others
    than those for greedy texts; the first decoder's hold for those that are not calibrated. Thresholds belong to the
    graphs that were measured: calibrate again after each export. Chunk sizes and decoders that are not calibrated now
    keep what the file holds of them, where graphs, precision and criterion are the same; what goes is said.

    --rtf counts the encoder only; a budget at run time counts deciding and decoding too.
    """
    from rich.console import Console

    from edge_asr.bundle.models import resolve

    folder = resolve(model)
    target = folder / "policy.json" if out is None else out
    check_target(target)
    if from_log is not None:
        if data is not None or max_loss or mean_macs or rtf:
            raise OptionError("--from-log goes without DATA and goals: a log has no transcripts")
        write(target, adapted(folder, from_log))
        Console(highlight=False).print(f"moved thresholds to what the device saw: {target}", soft_wrap=True)
        return
    if data is None:
        raise OptionError("DATA is missing: development data, or --from-log")
    if max_loss is None and mean_macs is None and rtf is None:
        max_loss = MAX_LOSS

    from edge_asr.decoding.decoder import GREEDY, LM
    from edge_asr.evaluation import calibration
    from edge_asr.evaluation.chunk_table import ChunkTable
    from edge_asr.evaluation.dataset import identity, load_dataset, sample
    from edge_asr.evaluation.earlier_policy import with_earlier
    from edge_asr.evaluation.evaluate import exit_costs, exit_seconds
    from edge_asr.evaluation.exit_log import record_all
    from edge_asr.evaluation.goal import Goal
    from edge_asr.evaluation.splice_scorer import scorer
    from edge_asr.exits.criterion import get_criterion
    from edge_asr.runtime.recognizer import Recognizer

    goal = Goal(
        max_loss=None if max_loss is None else Goal.parse_loss(max_loss),
        mean_macs=None if mean_macs is None else mean_macs * 1e6,
        rtf=rtf,
        confidence=confidence,
    )
    rule = get_criterion(criterion)
    utterances = sample(load_dataset(data, subset), limit, seed)
    recognizer = Recognizer.load(folder, precision=precision, threads=threads, use_policy=False)
    bundle = recognizer.bundle
    names = [d.value for d in decoder] if decoder else [GREEDY, *([] if bundle.lm_file is None else [LM])]
    prepared = {each.name: each for each in map(recognizer.decoder, names)}
    results: dict[str, dict[str, Calibrated]] = {name: {} for name in prepared}
    for chunk in bundle.spec.chunk_names if chunks is None else [c.value for c in chunks]:
        with progress(f"chunk {chunk}", len(utterances)) as tick:
            recordings = record_all(
                recognizer, utterances, chunk, cache=cache, timed=rtf is not None, threads=threads, tick=tick
            )
        costs = exit_costs(bundle, chunk) if rtf is None else exit_seconds(recordings, bundle.spec.frame_seconds)
        tokens, blank = recognizer.tokens, bundle.spec.tokens.blank
        for name, reader in prepared.items():
            table = ChunkTable(recordings, costs, tokens, blank, scorer(recordings, tokens, blank, reader))
            with progress(f"chunk {chunk}, {name}, points of the path", None) as tick:
                results[name][chunk] = calibration.calibrate(
                    table, rule, goal, temperature_scaling=temperature, hysteresis=hysteresis, seed=seed, tick=tick
                )
    notes = {
        "data": data.name if subset is None else f"{data.name}/{subset}",
        "data_sha256": identity(utterances),
        "utterances": len(utterances),
        "goal": {name: value for name, value in goal.as_json().items() if value is not None},
        "cost": "seconds" if rtf is not None else "macs",
        "seed": seed,
    }
    document = calibration.policy_document(bundle, recognizer.precision, results, notes)
    for name, reader in prepared.items():  # thresholds hold for what was read
        document.get("decoders", {}).get(name, document)["calibration"]["phones"] = reader.phones
    document, said = with_earlier(document, target, bundle.spec)
    console = Console(highlight=False)
    console.print(table_of(results, "rtf" if rtf is not None else "MMAC/s"))
    for line in [*remarks(results, goal.confidence), *said]:
        console.print(line, soft_wrap=True, markup=False)
    write(target, document)
    if out is None:
        Recognizer.load(folder)  # what was written can be read and used


def check_target(path: Path) -> None:
    """Check, before the work starts, that a policy can be written.

    Raises:
        OptionError: it cannot.
    """
    try:
        for entry in (path, path.parent / f"{path.name}.partial"):
            if entry.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> OptionError:
    """Says why a policy cannot be written, and what helps."""
    return OptionError(f"{str(path)!r} cannot be written: {error.strerror}; --out names another file")


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a policy.

    Raises:
        OptionError: it cannot be written there.
    """
    from edge_asr.evaluation.calibration import write_policy

    try:
        write_policy(path, document)
    except OSError as error:
        raise unwritable(path, error) from error


def adapted(folder: Path, log_file: Path) -> dict[str, Any]:
    """The model's policy with thresholds moved to a device's log.

    Raises:
        DataError: the log cannot be read, or is of another policy or calibration.
        OptionError: the model's policy has no reference to compare with.
    """
    from edge_asr.bundle.bundle import Bundle
    from edge_asr.evaluation.reference import log_counts, recalibrated
    from edge_asr.exits.criterion import get_criterion
    from edge_asr.runtime.monitor import counted_by

    try:
        log = json.loads(log_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"log {str(log_file)!r} cannot be read: {error}") from error
    policy = Bundle.load(folder).policy
    if policy is None or not policy.reference:
        raise OptionError(f"{str(folder)!r} has no policy.json of version 2 to start from; calibrate it on data first")
    if not isinstance(log, dict) or log.get("graphs") != policy.graphs or log.get("criterion_name") != policy.criterion:
        raise DataError(f"log {str(log_file)!r} isn't a monitor's of this model and criterion ({policy.criterion})")
    document: dict[str, Any] = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
    parts = {"": policy, **policy.decoders}
    for name in ("criterion", "calibrations"):
        if not isinstance(log.get(name, {}), dict):
            raise DataError(f"log {str(log_file)!r}: field {name!r} isn't an object, with an entry for each chunk size")
    places = [
        policy.place(decoder, chunk)
        for decoder, part in parts.items()
        for chunk in part.reference
        if chunk in part.thresholds
    ]
    seen = [place for place in places if place in log.get("criterion", {})]
    if not seen:
        raise DataError(f"log {str(log_file)!r} has no counts for chunk {', '.join(places)}")
    for place in seen:
        part, chunk = policy.at(place)
        now = counted_by(policy, place)
        if log.get("calibrations", {}).get(place, now) != now:  # older logs don't say
            raise DataError(
                f"log {str(log_file)!r}: chunk {place} was counted under another calibration, whose bins aren't this "
                "one's; start a new log"
            )
        counts = log_counts(log, place)
        if len(counts) != policy.exits - 1:
            raise DataError(f"the log has counts of {len(counts)} exits, expected {policy.exits - 1}")
        rule = get_criterion(part.criterion)
        moved = recalibrated(part.thresholds[chunk], part.reference[chunk], counts, rule, hysteresis=part.hysteresis)
        inside = document if place == chunk else document["decoders"][place.rpartition("/")[0]]
        inside["thresholds"][chunk] = list(moved)
        # Cheaper levels go along, so that they stay cheaper.
        by = [new - old for new, old in zip(moved, part.thresholds[chunk], strict=True)]
        for level in inside.get("levels", {}).get(chunk, []):
            level[:] = [old + step for old, step in zip(level, by, strict=True)]
    document.setdefault("calibration", {})["from_log"] = {
        "chunks": seen,
        "thresholds": "moved to the calibration's exit rates",
    }
    return document


def table_of(results: dict[str, dict[str, Calibrated]], unit: str) -> Table:
    """The chosen point of each decoder and chunk size beside full depth; narrow enough for 80 columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = Table(box=SIMPLE_HEAD)
    for name in ("decoder", "chunk", "WER %", "full", "loss % held out", "exit", unit, "of full"):
        rows.add_column(name, justify="right")
    scale = 1.0 if unit == "rtf" else 1e-6
    for decoder, chunk, result in each(results):
        chosen, full = result.chosen, result.full_depth
        low, high = (100 * bound for bound in result.loss[1:])
        rows.add_row(
            decoder,
            chunk,
            f"{100 * chosen.wer:.2f}",
            f"{100 * full.wer:.2f}",
            f"{100 * result.loss[0]:+.1f} ({low:+.1f} to {high:+.1f})",
            f"{chosen.mean_exit:.2f}",
            f"{chosen.mean_cost * scale:.4g}",
            f"{chosen.mean_cost / full.mean_cost:.0%}" if full.mean_cost else "–",
        )
    return rows


def remarks(results: dict[str, dict[str, Calibrated]], confidence: float | None) -> list[str]:
    """What should be said besides."""
    lines = []
    for decoder, chunk, result in each(results):
        where = f"{decoder}, chunk {chunk}"
        thresholds = ", ".join(f"{threshold:.4g}" for threshold in result.thresholds)
        lines.append(f"{where}: {result.criterion.name}, thresholds {thresholds}")
        if confidence is not None and result.chosen.mean_cost >= result.full_depth.mean_cost:
            what = f"no earlier exit keeps the loss with {confidence:.0%} confidence on {result.held_out} utterances"
            lines.append(f"{where}: {what}; full depth stays (more data, or more loss, would help)")
        elif confidence is not None:
            lines.append(f"{where}: the loss is kept with {confidence:.0%} confidence for speech like this data's")
    return lines


def each(results: dict[str, dict[str, Calibrated]]) -> Iterator[tuple[str, str, Calibrated]]:
    """Decoder, chunk and result, in order."""
    for decoder, by_chunk in results.items():
        for chunk, result in by_chunk.items():
            yield decoder, chunk, result
