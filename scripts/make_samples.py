"""Make the recordings in `samples/`: a few utterances of public corpora as 16 kHz mono FLAC with text.

    python scripts/make_samples.py DATA [--out samples]

DATA is a folder with `<corpus>.tar` and `<corpus>.jsonl` pairs, as `scripts/prepare_data.py` reads them: a
development set, never training data. The choice below was made once, by duration, text and level: short
enough for a demo, five speakers, women and men, read books and volunteers' microphones.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One utterance that becomes a sample.

    Args:
        corpus: name of the tar and manifest pair, without the ending.
        utterance: the id in the manifest.
        name: the sample's file name, without the ending.
    """

    corpus: str
    utterance: str
    name: str


CHOICES = (
    Choice("librispeech-dev-clean-10spk", "1272-128104-0000", "librispeech-1272-128104-0000"),
    Choice("librispeech-dev-clean-10spk", "1462-170142-0004", "librispeech-1462-170142-0004"),
    Choice("librispeech-dev-clean-10spk", "2428-83705-0025", "librispeech-2428-83705-0025"),
    Choice("commonvoice", "common_voice_en_40206213", "commonvoice-40206213"),
    Choice("commonvoice", "common_voice_en_40269020", "commonvoice-40269020"),
)


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The manifest's lines by utterance id."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {entry["id"]: entry for entry in map(json.loads, lines)}


def convert(encoded: bytes, out: Path) -> float:
    """Decode one recording and write it as 16 bit FLAC; gives its duration in seconds."""
    samples, rate = soundfile.read(io.BytesIO(encoded), dtype="int16", always_2d=True)
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise SystemExit(
            f"error: {out.name}: expected {SAMPLE_RATE} Hz mono, got {rate} Hz, {samples.shape[1]} channels"
        )
    soundfile.write(out, samples[:, 0], rate, format="FLAC", subtype="PCM_16")
    return float(len(samples) / rate)


def make_samples(data: Path, out: Path) -> list[dict[str, Any]]:
    """Write the chosen recordings and `manifest.jsonl` to `out`; gives the manifest's entries."""
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for choice in CHOICES:
        source = read_manifest(data / f"{choice.corpus}.jsonl")[choice.utterance]
        with tarfile.open(data / f"{choice.corpus}.tar") as tar:
            member = tar.extractfile(source["audio"])
            if member is None:
                raise SystemExit(f"error: {choice.corpus}.tar: {source['audio']} is not a file")
            duration = convert(member.read(), out / f"{choice.name}.flac")
        entry = {
            "id": choice.name,
            "audio": f"{choice.name}.flac",
            "text": source["text"],
            "speaker": source["speaker"],
            "duration": round(duration, 3),
        }
        entries.append(entry)
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    (out / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return entries


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the recordings in samples/.")
    parser.add_argument("data", type=Path, help="folder with <corpus>.tar and <corpus>.jsonl pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "samples")
    arguments = parser.parse_args()
    for entry in make_samples(arguments.data, arguments.out):
        size = (arguments.out / entry["audio"]).stat().st_size
        print(f"{entry['audio']:40} {entry['duration']:6.2f} s  {size / 1000:6.0f} kB  {entry['text']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
