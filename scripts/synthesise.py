"""Has sentences read aloud by flite, for the words that the recordings lack; a corpus for prepare_data.py --from.

    python scripts/synthesise.py TEXT --out DATA [--hours 10] [--known RECORDINGS/train/a.jsonl …]

TEXT holds one sentence a line (.gz too). Sentences are chosen for rare words: rare in what was chosen so far and in
the transcripts of --known. flite (Debian: apt install flite) has four English voices; each sentence gets one of them,
a pitch and a pace. Writes DATA/train/NAME.tar and NAME.jsonl. Safe to interrupt: what was read is not read again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import Progress

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.training.data.coverage import choose, count_words, read_sentences

VOICES = {"rms": 95, "slt": 170, "awb": 115, "kal16": 105}  # name → its own pitch in Hz
SECONDS = 0.33  # a word, about; for choosing how many sentences
PITCH, PACE = 1.3, 1.2  # up to this factor either way


def speak(words: list[str], voice: str, pitch: float, pace: float, path: Path) -> float:
    """Writes one sentence as 16 kHz FLAC, unless it is there; its length in seconds."""
    if not path.exists():
        wav, partial = path.with_suffix(".wav"), path.with_suffix(".part")
        settings = [f"duration_stretch={1 / pace:.3f}", f"int_f0_target_mean={pitch:.1f}"]
        command = ["flite", "-voice", voice, *(x for s in settings for x in ("--setf", s))]
        done = subprocess.run([*command, "-t", " ".join(words).lower(), "-o", str(wav)], capture_output=True, text=True)
        if done.returncode or not wav.exists():
            raise DataError(f"flite failed on {' '.join(words)!r}: {done.stderr.strip() or 'no audio'}")
        samples, rate = soundfile.read(wav, dtype="int16")
        if rate != 16_000:
            raise DataError(f"flite voice {voice!r} speaks at {rate} Hz; allowed: 16000")
        soundfile.write(partial, samples, rate, format="FLAC")
        partial.replace(path)
        wav.unlink()
    return float(soundfile.info(path).duration)


def synthesise(args: argparse.Namespace, console: Console) -> None:
    """Chooses, reads and packs."""
    names = args.voices.split(",")
    for voice in names:
        if voice not in VOICES:
            raise OptionError(f"voice {voice!r} is not one of flite's for 16 kHz; allowed: {', '.join(VOICES)}")
    if shutil.which("flite") is None:
        raise DataError("flite is not installed (Debian: apt install flite)")
    known = count_words(args.known)
    before = len(known)
    chosen = choose(read_sentences(args.text), known, round(args.hours * 3600 / SECONDS))
    console.print(f"{len(chosen):,} sentences; different words: {before:,} known, {len(known):,} with these")
    train = args.out / "train"
    folder = train / args.name
    folder.mkdir(parents=True, exist_ok=True)

    def one(i: int) -> dict[str, str | float]:
        rng = np.random.default_rng([args.seed, i])
        voice = names[int(rng.integers(len(names)))]
        pitch, pace = VOICES[voice] * PITCH ** rng.uniform(-1, 1), PACE ** rng.uniform(-1, 1)
        text = " ".join(chosen[i])
        # By what is said and how, so that nothing of a run with other options is taken for this one's.
        name = hashlib.sha256(f"{i} {voice} {pitch} {pace} {text}".encode()).hexdigest()[:16]
        duration = round(speak(chosen[i], voice, pitch, pace, folder / f"{name}.flac"), 3)
        row = {"id": f"{args.name}-{name}", "audio": f"{args.name}/{name}.flac", "text": text}
        return row | {"speaker": voice, "duration": duration}

    rows = []
    with ThreadPoolExecutor(args.jobs) as pool, Progress(console=console) as progress:
        for row in progress.track(pool.map(one, range(len(chosen))), total=len(chosen), description="sentences"):
            rows.append(row)
    (train / f"{args.name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with tarfile.open(train / f"{args.name}.tar", "w") as tar:
        for row in rows:
            tar.add(train / str(row["audio"]), str(row["audio"]))
    hours = sum(float(row["duration"]) for row in rows) / 3600
    console.print(f"{hours:.2f} h in {train / args.name}.tar")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="synthetic-flite", help="of the corpus (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=10.0, help="about so many (default: %(default)s)")
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="manifests whose words count as known")
    parser.add_argument("--voices", default=",".join(VOICES), help="default: %(default)s")
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
