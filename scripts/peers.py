"""Compare the model with other recognisers on the same files, machine and threads.

    python scripts/peers.py DATA --out OUT [--limit 200] [--model en-tiny] [--only ours --only moonshine]

DATA is a folder in LibriSpeech's layout or a `.jsonl` manifest. Ours takes part with every exit and with its
thresholds (auto); the others are Whisper tiny.en (faster-whisper), Moonshine tiny (its own runtime, and its graphs in
plain ONNX Runtime) and PocketSphinx. Each runs in a virtual environment that is made from the package registry the
first time (OUT/environments, or
--environments), and is asked one utterance at a time, in alternating order.

Writes OUT/peers.md, peers.json and peers.png. Interrupted, the same command goes on. A recogniser that fails is
reported and left out; it is tried again the next time.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.models import resolve
from edge_asr.cli.console import command, progress
from edge_asr.cli.evaluate import write_json
from edge_asr.cli.options import DEFAULT_MODEL, Chunk, ChunkSize, Debug, Model
from edge_asr.errors import OptionError, PeerError
from edge_asr.evaluation.dataset import load_dataset, sample
from edge_asr.evaluation.peers.contest import Contest, convert
from edge_asr.evaluation.peers.environment import environment_python, prepare_environment
from edge_asr.evaluation.peers.journal import Journal
from edge_asr.evaluation.peers.plot import plot
from edge_asr.evaluation.peers.report import Comparison, as_markdown, compare
from edge_asr.evaluation.peers.system import PEERS, System, choose, our_systems

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("peer_worker.py")


@command
def main(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="LibriSpeech-layout folder or .jsonl manifest.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Folder for answers and results.")],
    model: Model = DEFAULT_MODEL,
    subset: Annotated[str | None, typer.Option(help="A folder in DATA.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only a sample of N, spread over all speakers.")] = None,
    seed: Annotated[int, typer.Option(help="Which sample.")] = 0,
    chunk: ChunkSize = Chunk.MS_640,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads and processors for each.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only systems whose names begin so; may be repeated.")
    ] = None,
    environments: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where virtual environments are (default: OUT/environments).")
    ] = None,
    loads: Annotated[int, typer.Option(min=1, help="How often each is started, for the load time.")] = 3,
    reference: Annotated[str | None, typer.Option(help="System whose cost is 1 (default: our last exit).")] = None,
    debug: Debug = False,
) -> None:
    """Compare the model with other recognisers on the same files, machine and threads."""
    console = Console(stderr=True, highlight=False)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > available:
        raise OptionError(f"threads is {threads}; allowed: 1 to {available}, the processors of this machine")
    bundle = Bundle.load(resolve(model))
    ours = our_systems(bundle, str(ROOT), chunk.argument)
    systems = choose([*ours, *PEERS], only or [])
    reference = reference or f"ours-exit{bundle.spec.encoder.exits}"
    choose([*ours, *PEERS], [reference])
    utterances = sample(load_dataset(data, subset), limit, seed)
    journal = Journal(out, utterances, threads)
    folder = environments or out / "environments"
    failures = make_environments(folder, systems, console)
    (out / "audio").mkdir(exist_ok=True)
    with progress("audio", len(utterances)) as tick:
        clips = []
        for utterance in utterances:
            clips.append(convert(utterance, out / "audio"))
            tick()
    contest = Contest(
        systems=[system for system in systems if system.name not in failures],
        clips=clips,
        journal=journal,
        command=lambda system: [str(environment_python(folder.absolute(), system)), str(WORKER)],
        threads=threads,
        loads=loads,
        report=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    with progress("recognising", len(contest.systems) * len(clips)) as tick:
        contest.run(tick)
    notes = {"of": f"{data.name}{'' if subset is None else f'/{subset}'}, seed {seed}"} | machine(threads)
    result = compare(systems, clips, journal, failures | contest.failures, reference, notes)
    write(result, out)
    Console(highlight=False).print(as_markdown(result), markup=False, soft_wrap=True)


def make_environments(folder: Path, systems: tuple[System, ...], console: Console) -> dict[str, str]:
    """Make what environments are missing; the reason by system where one cannot be made."""
    broken: dict[str, str] = {}
    failures: dict[str, str] = {}
    for system in systems:
        if system.environment not in broken:
            with console.status(f"environment {system.environment}"):
                try:
                    prepare_environment(folder, system)
                    continue
                except PeerError as error:
                    broken[system.environment] = str(error)
                    console.print(f"left out: {error}", markup=False, soft_wrap=True)
        failures[system.name] = broken[system.environment]
    return failures


def machine(threads: int) -> dict[str, str]:
    """What the figures depend on, besides the data."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "on": f"{processor}, {platform.system()}",
        "threads": str(threads),
        "commit": commit.stdout.strip() or "unknown",
    }


def write(result: Comparison, out: Path) -> None:
    """Write the Markdown, the JSON and the plot."""
    (out / "peers.md").write_text(as_markdown(result), encoding="utf-8")
    write_json(out / "peers.json", result.as_json())
    plot(result, out / "peers.png")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
