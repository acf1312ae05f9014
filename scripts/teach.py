"""Caches a teacher's encoder states for training with ``data.teacher: true``.

    python scripts/teach.py --data PREPARED --teacher tiny.en [--about TEXT] [--corpora a,b] [--jobs 2]

PREPARED is what scripts/prepare_data.py wrote; the teacher is a Whisper model for faster-whisper, a name or a folder.
Safe to interrupt: corpora that are finished and have not changed are not done again. Another teacher needs PREPARED's
folder `teacher` removed first.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from lhotse import CutSet
from rich.console import Console
from rich.progress import Progress

from edge_asr.errors import EdgeAsrError
from edge_asr.training.data.batches import read_part
from edge_asr.training.data.teacher import WhisperTeacher, cache_states, measure

SAMPLE = 200  # utterances over which the states are normalised


def _cache(teacher: str, prepared: Path, corpus: str) -> str:
    cuts = CutSet.from_file(prepared / "train" / corpus / "cuts.jsonl.gz")
    folder = prepared / "teacher"
    cache_states(WhisperTeacher(teacher), cuts, folder / "statistics.json", folder / f"{corpus}.i8")
    return corpus


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="name or folder of a Whisper model for faster-whisper")
    parser.add_argument("--about", help="who the teacher is, for model cards (default: as --teacher)")
    parser.add_argument("--corpora", default="", help="comma-separated, in this order (default: all, largest first)")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    args = parser.parse_args()
    try:
        chosen = tuple(args.corpora.split(",")) if args.corpora else ()
        corpora = read_part(args.data, "train", chosen)
        hours = {name: sum(c.duration for c in cuts) / 3600 for name, cuts in corpora.items()}
        folder = args.data / "teacher"
        folder.mkdir(exist_ok=True)
        cuts = [c for cuts in corpora.values() for c in cuts if c.duration < 20]
        picked = np.random.default_rng(0).permutation(len(cuts))[:SAMPLE]
        teacher = WhisperTeacher(args.teacher, threads=args.jobs)
        recordings = (cuts[i].recording.sources[0].source for i in picked)
        name = Path(args.teacher).name
        measure(teacher, recordings, folder / "statistics.json", args.about or f"Whisper {name}", name)
        console = Console()
        with ProcessPoolExecutor(args.jobs) as pool, Progress(console=console) as progress:
            task = progress.add_task("teacher states", total=sum(hours.values()))
            order = chosen or sorted(corpora, key=lambda name: -hours[name])
            for done in as_completed([pool.submit(_cache, args.teacher, args.data, name) for name in order]):
                console.print(f"{done.result()}: {hours[done.result()]:.2f} h")
                progress.advance(task, hours[done.result()])
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
