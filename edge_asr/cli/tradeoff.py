"""`edge-asr tradeoff`: what each criterion and policy gives for its cost, as JSON, Markdown, plots and a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_asr.cli.console import command, progress
from edge_asr.cli.options import Chunk, ChunkSize, Debug, Decoder, DecoderName, Precision, Threads
from edge_asr.errors import OptionError

if TYPE_CHECKING:
    from edge_asr.evaluation.recording import Corruption


@command
def tradeoff(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A known model, or a bundle's folder.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="LibriSpeech-layout folder or .jsonl manifest.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")],
    chunk: ChunkSize = Chunk.MS_640,
    decoder: DecoderName = Decoder.GREEDY,
    criteria: Annotated[
        list[str] | None, typer.Option("--criterion", help="Only this one; repeat it (default: all).")
    ] = None,
    share: Annotated[
        float, typer.Option("--share", min=0.05, max=1.0, help="Of full depth: the policy shown in detail.")
    ] = 0.6,
    noise: Annotated[
        Path | None, typer.Option("--noise", metavar="DIR", help="Noise clips: measure at 20, 10, 5 and 0 dB as well.")
    ] = None,
    rooms: Annotated[bool, typer.Option("--rooms", help="Measure in simulated rooms as well.")] = False,
    condition_limit: Annotated[
        int, typer.Option("--condition-limit", min=1, help="Utterances in each of these conditions.")
    ] = 60,
    cache: Annotated[Path | None, typer.Option("--cache", metavar="DIR", help="Keep recorded passes.")] = None,
    subset: Annotated[str | None, typer.Option("--subset", metavar="NAME", help="A folder in DATA.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Only a sample of N, over all speakers.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample and of all draws.")] = 0,
    precision: Precision = None,
    threads: Threads = 1,
    debug: Debug = False,
) -> None:
    """Measure the trade-off between error rate and cost.

    Writes tradeoff.json, tradeoff.md, plots and tradeoff.html (which needs no other file) to DIR. All exits run
    once; every policy is looked up in that pass, and greedy texts are quick. With --decoder lm each point of each
    curve is decoded: name one or two criteria. Plots need the extra `plots`, rooms the extra `rooms`.
    """
    from rich.console import Console

    from edge_asr.evaluation import tradeoff as sweeps
    from edge_asr.evaluation.calibration import halves
    from edge_asr.evaluation.chunk_table import ChunkTable
    from edge_asr.evaluation.dataset import identity, load_dataset, sample
    from edge_asr.evaluation.evaluate import exit_costs
    from edge_asr.evaluation.exit_log import record_all
    from edge_asr.evaluation.pyplot import load_pyplot
    from edge_asr.evaluation.splice_scorer import scorer
    from edge_asr.evaluation.tradeoff_page import markdown, page
    from edge_asr.evaluation.tradeoff_plots import draw_plots
    from edge_asr.exits.criterion import CRITERIA, get_criterion
    from edge_asr.runtime.recognizer import Recognizer

    load_pyplot()  # what the end needs is asked for first
    names = list(CRITERIA) if criteria is None else criteria
    for name in names:
        get_criterion(name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {str(out)!r} cannot be made: {error.strerror}") from error
    for name in ("tradeoff.json", "tradeoff.md", "tradeoff.html"):
        if (out / name).is_dir():
            raise OptionError(f"--out {str(out)!r}: {name!r} in it is a folder; expected none, or a file")
    utterances = sample(load_dataset(data, subset), limit, seed)
    if len(utterances) < 2:
        raise OptionError("a trade-off needs at least two utterances: one half shapes thresholds, the other judges")
    recognizer = Recognizer.load(model, precision=precision, threads=threads, use_policy=False)
    spec, prepared = recognizer.bundle.spec, recognizer.decoder(decoder.value)
    costs = exit_costs(recognizer.bundle, chunk.value)
    corruptions = conditions_of(noise, rooms, spec.sample_rate, seed)

    def table_of(label: str, chosen: list[Any], corrupt: Corruption | None = None) -> ChunkTable:
        with progress(label, len(chosen)) as tick:
            recordings = record_all(
                recognizer,
                chosen,
                chunk.value,
                cache=cache,
                condition=label,
                corrupt=corrupt,
                timed=False,
                tick=tick,
            )
        tokens, blank = recognizer.tokens, spec.tokens.blank
        return ChunkTable(recordings, costs, tokens, blank, scorer(recordings, tokens, blank, prepared))

    table = table_of("clean", utterances)
    with progress("criteria", len(names)) as tick:
        result, shown = sweeps.tradeoff(
            table, criteria=names, share=share, frame_seconds=spec.frame_seconds, seed=seed, tick=tick
        )
    if corruptions:
        judged = sample([utterances[i] for i in halves(len(utterances), seed)[1]], condition_limit, seed)
        part = table.subset(utterances.index(utterance) for utterance in judged)
        result["conditions"] = {"clean": sweeps.condition(part, shown)}
        for label, corrupt in corruptions.items():
            result["conditions"][label] = sweeps.condition(table_of(label, judged, corrupt), shown)
    result |= {
        "model": spec.name,
        "precision": recognizer.precision,
        "decoder": prepared.name,
        "chunk": chunk.value,
        "data": data.name if subset is None else f"{data.name}/{subset}",
        "data_sha256": identity(utterances),
        "utterances": len(utterances),
        "seed": seed,
        "command": "edge-asr " + " ".join(sys.argv[1:]),
    }
    (out / "tradeoff.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    plots = draw_plots(result, out)
    (out / "tradeoff.md").write_text(markdown(result, plots), encoding="utf-8")
    (out / "tradeoff.html").write_text(page(result, plots), encoding="utf-8")
    Console(highlight=False).print(
        f"wrote {out / 'tradeoff.html'}, and beside it JSON, Markdown and plots", soft_wrap=True
    )


def conditions_of(noise: Path | None, rooms: bool, sample_rate: int, seed: int) -> dict[str, Corruption]:
    """The conditions besides clean speech, by name."""
    found: dict[str, Corruption] = {}
    if noise is not None:
        from edge_asr.evaluation.noise import NoiseCorruption, read_noises

        clips = read_noises(noise, sample_rate)
        found |= {f"{snr} dB": NoiseCorruption(clips, snr, seed) for snr in (20, 10, 5, 0)}
    if rooms:
        from edge_asr.evaluation.rooms import RoomCorruption

        found["rooms"] = RoomCorruption(sample_rate, seed)
    return found
