"""Has sentences read by synthetic voices, for words that the recordings lack; a corpus for prepare_data.py --from.

    python scripts/synthesise.py TEXT --out DATA [--engine hibari] [--hours 10] [--known RECORDINGS/train/a.jsonl …]

TEXT holds one sentence a line (.gz too). Sentences are chosen for rare words: rare in what was chosen so far and in
the transcripts of --known. Engines: flite (Debian: apt install flite), four voices at many pitches and paces, and
hibari (pip install hibari-tts), one voice made into 500 readers. Writes DATA/train/NAME.tar and NAME.jsonl. Safe to
interrupt: what was read is not read again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import Progress

from edge_asr.errors import EdgeAsrError, OptionError
from edge_asr.training.data.coverage import choose, count_words, read_sentences
from edge_asr.training.data.voices import ENGINES, FLITE, SAMPLE_RATE, FliteVoices, HibariVoices, Voices

SECONDS = 0.33  # a word, about; for choosing how many sentences
Job = tuple[str, tuple[str, ...], int, int, list[str], Path]


@cache
def voices(engine: str, names: tuple[str, ...]) -> Voices:
    """The engine, loaded once a process."""
    return FliteVoices(names) if engine == "flite" else HibariVoices()


def read_aloud(job: Job) -> dict[str, str | float]:
    """Writes one sentence as FLAC, unless it is there; its row of the manifest."""
    engine, names, seed, number, words, folder = job
    speaker = voices(engine, names)
    manner, text = speaker.draw(np.random.default_rng([seed, number])), " ".join(words)
    # By what is said and how, so that nothing of a run with other options is taken for this one's.
    name = hashlib.sha256(f"{number} {manner} {text}".encode()).hexdigest()[:16]
    path = folder / f"{name}.flac"
    if not path.exists():
        partial = path.with_suffix(".part")
        soundfile.write(partial, speaker.speak(words, manner), SAMPLE_RATE, format="FLAC")
        partial.replace(path)
    row: dict[str, str | float] = {"id": f"{folder.name}-{name}", "audio": f"{folder.name}/{path.name}", "text": text}
    return row | {"speaker": manner.reader, "duration": round(float(soundfile.info(path).duration), 3)}


def synthesise(args: argparse.Namespace, console: Console) -> None:
    """Chooses, reads and packs."""
    names = tuple(args.voices.split(","))
    if args.engine != "flite" and args.voices != ",".join(FLITE):
        raise OptionError(f"--voices is {args.voices!r}; allowed: only with --engine flite")
    voices(args.engine, names)  # says at once what is missing
    name = args.name or f"synthetic-{args.engine}"
    known = count_words(args.known)
    before = len(known)
    chosen = choose(read_sentences(args.text), known, round(args.hours * 3600 / SECONDS))
    console.print(f"{len(chosen):,} sentences; different words: {before:,} known, {len(known):,} with these")
    train = args.out / "train"
    folder = train / name
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[Job] = [(args.engine, names, args.seed, i, words, folder) for i, words in enumerate(chosen)]
    rows = []
    with ProcessPoolExecutor(args.jobs) as pool, Progress(console=console) as progress:
        try:
            done = pool.map(read_aloud, jobs, chunksize=16)
            for row in progress.track(done, total=len(jobs), description="sentences"):
                rows.append(row)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    (train / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with tarfile.open(train / f"{name}.tar", "w") as tar:
        for row in rows:
            tar.add(train / str(row["audio"]), str(row["audio"]))
    hours = sum(float(row["duration"]) for row in rows) / 3600
    console.print(f"{hours:.2f} h in {train / name}.tar")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="flite", help="default: %(default)s")
    parser.add_argument("--name", help="of the corpus (default: synthetic-ENGINE)")
    parser.add_argument("--hours", type=float, default=10.0, help="about so many (default: %(default)s)")
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="manifests whose words count as known")
    parser.add_argument("--voices", default=",".join(FLITE), help="of flite's (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    try:
        synthesise(args, Console())
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
