"""Prepares training data: unpacks tar + manifest pairs, checks them, caches log-mels, and prints a table.

    python scripts/prepare_data.py --from DATA --out PREPARED [--speeds 0.9,1.0,1.1] [--noise noise/esc10.tar]

DATA holds `<split>/<corpus>.tar` with `<corpus>.jsonl` beside it. Corpora in LibriSpeech layout need no tar:
    lhotse download librispeech --mini DIR
    python scripts/prepare_data.py --librispeech DIR/LibriSpeech --out PREPARED
Your own recordings, for fine-tuning (docs/guides/fine-tuning.md); a part is held back:
    python scripts/prepare_data.py --recordings MY-RECORDINGS --out PREPARED
Safe to interrupt: what is finished and has not changed is not done again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from lhotse import CutSet
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edge_asr.errors import DataError, EdgeAsrError, OptionError
from edge_asr.evaluation.normaliser import comparable
from edge_asr.model.logmel import LogMel
from edge_asr.training.data.corpus import AUDIO_SUFFIXES, read_corpus
from edge_asr.training.data.features import (
    cache_features,
    feature_path,
    read_audio,
    replace_file,
    utterance_mels,
)
from edge_asr.training.data.recordings import split_recordings, write_manifest
from edge_asr.training.data.unpack import Prepared, extract, find_pairs, sha256, unpack
from edge_asr.training.phones import Pronunciations

LONGEST = 20  # seconds: phases[].max_seconds, unless a configuration says otherwise


def _cache(folder: Path, path: Path, speed: float) -> str:
    torch.set_num_threads(1)
    cache_features(CutSet.from_file(folder / "cuts.jsonl.gz").to_eager(), path, speed)
    return path.name


def _noise(tar: Path, out: Path, console: Console) -> int:
    """Caches noise clips, unless those of this archive are there; older caches don't say whose they are."""
    cache, source, digest = out / "noise" / "noise.npy", out / "noise" / "noise.sha256", sha256(tar)
    if not cache.exists() or (source.exists() and source.read_text() != digest):
        cache.parent.mkdir(parents=True, exist_ok=True)
        mels = _clips(tar, cache.parent, console)
        part = cache.with_name(cache.name + ".part")
        with part.open("wb") as file:
            np.save(file, np.concatenate(mels))
        os.replace(part, cache)
        replace_file(source, digest.encode())
    return len(np.load(cache, mmap_mode="r"))


def _clips(tar: Path, scratch: Path, console: Console) -> list[npt.NDArray[np.float16]]:
    with TemporaryDirectory(dir=scratch) as folder:
        try:
            with tarfile.open(tar) as archive:
                extract(archive, Path(folder))
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"noise archive {str(tar)!r} cannot be unpacked: {error}") from error
        clips = sorted(p for p in Path(folder).rglob("*") if p.suffix in AUDIO_SUFFIXES)
        if not clips:
            raise DataError(f"noise archive {str(tar)!r} holds no audio ({', '.join(AUDIO_SUFFIXES)})")
        logmel = LogMel()
        mels = []
        for clip in clips:
            try:
                mels.append(utterance_mels(logmel, read_audio(str(clip))))
            except DataError as error:
                console.print(f"left out: {error}")
    if not mels:
        raise DataError(f"noise archive {str(tar)!r}: none of its {len(clips)} clips can be read")
    return mels


def _speeds(text: str) -> list[float]:
    try:
        speeds = [float(part) for part in text.split(",")]
    except ValueError:
        speeds = []
    if not speeds or not all(0.5 <= speed <= 2 for speed in speeds) or len(set(speeds)) < len(speeds):
        raise OptionError(f"--speeds is {text!r}; allowed: numbers from 0.5 to 2, each once, with commas between them")
    return speeds


def _librispeech(root: Path, out: Path) -> list[Prepared]:
    if not root.is_dir():
        raise DataError(f"folder {str(root)!r} does not exist")
    result = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and next(p.rglob("*.trans.txt"), None)):
        split = "train" if folder.name.startswith("train") else "dev" if folder.name.startswith("dev") else "test"
        target = out / split / f"librispeech-{folder.name}"
        target.mkdir(parents=True, exist_ok=True)
        cuts = read_corpus(folder)
        cuts.to_file(target / "cuts.jsonl.gz")
        speakers = {s.speaker for cut in cuts for s in cut.supervisions}
        result.append(
            Prepared(target.name, split, len(cuts), sum(c.duration for c in cuts) / 3600, len(speakers), "", "")
        )
    if not result:
        raise DataError(f"folder {str(root)!r} holds no LibriSpeech part (a folder with *.trans.txt below it)")
    return result


def _recordings(source: Path, out: Path, held_back: float, console: Console) -> list[Prepared]:
    parts = split_recordings(source, out, comparable, held_back=held_back)
    for part in parts:
        folder = out / part.split / part.name
        cuts = CutSet.from_file(folder / "cuts.jsonl.gz").to_eager()
        write_manifest(cuts, folder / f"{part.name}.jsonl")
        long = sum(cut.duration > LONGEST for cut in cuts)
        if long and part.split == "train":
            console.print(
                f"{long} recordings are longer than {LONGEST} s and will not be trained on: cut them at pauses"
            )
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--from", dest="data", type=Path, help="folder of <split>/<corpus>.tar + .jsonl pairs")
    source.add_argument("--librispeech", type=Path, help="folder that holds train-clean-5, dev-clean, …")
    source.add_argument(
        "--recordings", type=Path, help="folder of audio files with NAME.txt beside each NAME.wav, or a .jsonl manifest"
    )
    parser.add_argument("--held-back", type=float, default=0.15, help="share of --recordings that is for scoring")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--speeds", default="1.0", help="comma-separated factors for the training part (default: %(default)s)"
    )
    parser.add_argument(
        "--noise", type=Path, help="tar of noise clips (default: the first noise/*.tar in the folder of data)"
    )
    parser.add_argument("--pronunciations", type=Path, help="dictionary in CMUdict's format, for optim.phones")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    console = Console()
    try:
        speeds = _speeds(args.speeds)
        if args.noise and not args.noise.is_file():
            raise DataError(f"noise archive {str(args.noise)!r} does not exist")
        if args.pronunciations:
            known = len(Pronunciations.read(args.pronunciations).words)
            args.out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(args.pronunciations, args.out / "pronunciations.dict")
            console.print(f"pronunciations: {known:,} words")
        if args.data:
            corpora = [unpack(s, t, m, args.out, console.print) for s, t, m in find_pairs(args.data)]
        elif args.librispeech:
            corpora = _librispeech(args.librispeech, args.out)
        else:
            corpora = _recordings(args.recordings, args.out, args.held_back, console)
        jobs = [(c, s) for c in corpora for s in (speeds if c.split == "train" else [1.0])]
        with ProcessPoolExecutor(args.jobs) as pool, Progress(console=console) as progress:
            task = progress.add_task("log-mel features", total=sum(c.hours for c, _ in jobs))
            futures = [
                (
                    c,
                    pool.submit(_cache, args.out / c.split / c.name, feature_path(args.out, c.split, c.name, s), s),
                )
                for c, s in sorted(jobs, key=lambda job: -job[0].hours)
            ]
            for corpus, future in futures:
                future.result()
                progress.advance(task, corpus.hours)
        noise = args.noise or next(
            iter(sorted((args.data or args.librispeech or args.recordings).glob("noise/*.tar"))), None
        )
        if noise:
            console.print(f"noise: {_noise(noise, args.out, console) / 100:.0f} s")
    except EdgeAsrError as error:
        console.print(f"[red]error:[/red] {error}")
        return 1
    table = Table("split", "corpus", "utterances", "hours", "speakers", "sha256 of the archive")
    for c in corpora:
        table.add_row(c.split, c.name, str(c.utterances), f"{c.hours:.2f}", str(c.speakers), c.tar_sha256[:16])
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
