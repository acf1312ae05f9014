"""Small generated corpora: words are tones, so that a few updates can begin to learn them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

WORDS = {"ONE": 300.0, "TWO": 600.0, "SIX": 1200.0, "TEN": 2400.0}


def tones(text: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A third of a second of tone for each word, with gaps and a little noise."""
    parts = [np.zeros(1600)]
    for word in text.split():
        t = np.arange(int(rng.integers(4500, 6000))) / 16_000
        parts += [0.3 * np.sin(2 * np.pi * WORDS[word] * t), np.zeros(1600)]
    pcm = np.concatenate(parts)
    return (pcm + 0.003 * rng.standard_normal(len(pcm))).astype(np.float32)


def texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list(WORDS), size=int(rng.integers(2, 6)))) for _ in range(count)]


def write_librispeech(root: Path, count: int, seed: int) -> None:
    """A part in LibriSpeech's layout, two speakers, FLAC."""
    rng = np.random.default_rng(seed)
    lines: dict[str, list[str]] = {}
    for i, text in enumerate(texts(count, seed)):
        chapter = f"{11 + i % 2}-7"
        folder = root / chapter.replace("-", "/")
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{chapter}-{i:04d}"
        sf.write(folder / f"{name}.flac", tones(text, rng), 16_000)
        lines.setdefault(chapter, []).append(f"{name} {text}")
    for chapter, rows in lines.items():
        path = root / chapter.replace("-", "/") / f"{chapter}.trans.txt"
        path.write_text("\n".join(rows) + "\n")


def write_pair(folder: Path, name: str, count: int, seed: int) -> tuple[Path, Path]:
    """A tar of WAV files and its manifest."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tar, manifest = folder / f"{name}.tar", folder / f"{name}.jsonl"
    rows = []
    with tarfile.open(tar, "w") as archive:
        for i, text in enumerate(texts(count, seed)):
            pcm, data = tones(text, rng), io.BytesIO()
            sf.write(data, pcm, 16_000, format="WAV")
            entry = tarfile.TarInfo(f"{name}/{i:03d}.wav")
            entry.size = len(data.getvalue())
            archive.addfile(entry, io.BytesIO(data.getvalue()))
            rows.append(
                {
                    "id": f"{name}-{i:03d}",
                    "audio": entry.name,
                    "text": text,
                    "speaker": f"s{i % 3}",
                    "duration": len(pcm) / 16_000,
                    "check": 0.9 if i == 0 else 0.1,
                }
            )
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tar, manifest
