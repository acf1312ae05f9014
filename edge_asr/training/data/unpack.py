"""Unpacking of tar + manifest pairs, with counts, hours and checksums checked."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_asr.errors import DataError
from edge_asr.training.data.corpus import read_corpus

RECEIPT = "prepared.json"
TOLERANCE = 0.02  # relative, hours in the manifest against hours in the audio files


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known of an unpacked corpus: sizes, and the SHA-256 of what it came from."""

    name: str
    split: str
    utterances: int
    hours: float
    speakers: int
    tar_sha256: str
    manifest_sha256: str


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read())
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_pairs(root: Path) -> list[tuple[str, Path, Path]]:
    """Finds ``<split>/<corpus>.tar`` files with a ``.jsonl`` manifest beside them: (split, tar, manifest) each.

    Raises:
        DataError: there is no pair, or a tar lacks its manifest.
    """
    if not root.is_dir():
        raise DataError(f"data folder {str(root)!r} does not exist")
    pairs = []
    for tar in sorted(root.glob("*/*.tar")):
        manifest = tar.with_suffix(".jsonl")
        if manifest.exists():
            pairs.append((tar.parent.name, tar, manifest))
    if not pairs:
        raise DataError(f"data folder {str(root)!r} holds no <split>/<corpus>.tar with a <corpus>.jsonl beside it")
    return pairs


def _receipt(path: Path) -> Prepared | None:
    try:
        return Prepared(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def unpack(split: str, tar: Path, manifest: Path, out: Path, say: Callable[[str], None] = lambda _: None) -> Prepared:
    """Unpacks one corpus to ``out/<split>/<corpus>/`` and checks it; one unpacked from the same files is left alone.

    The receipt is written last, so an interrupted run starts that corpus again and never trusts half of it.

    Raises:
        DataError: the tar is damaged or holds unsafe paths, an utterance has no audio, or durations disagree.
    """
    name = tar.stem
    folder = out / split / name
    receipt = folder / RECEIPT
    digests = sha256(tar), sha256(manifest)
    known = _receipt(receipt)
    if known and (known.tar_sha256, known.manifest_sha256) == digests:
        return known
    say(f"unpacking {split}/{name}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(tar) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"archive {str(tar)!r} cannot be unpacked: {error}") from error
    copy = folder / manifest.name
    copy.write_bytes(manifest.read_bytes())
    say(f"checking {split}/{name}")
    cuts = read_corpus(copy)
    rows = [json.loads(line) for line in copy.read_text(encoding="utf-8").splitlines() if line.strip()]
    stated = sum(float(row.get("duration", 0.0)) for row in rows)
    found = sum(cut.duration for cut in cuts)
    if stated and abs(stated - found) > TOLERANCE * found:
        raise DataError(
            f"{manifest}: durations add up to {stated:.0f} s, the audio to {found:.0f} s (allowed: ±{TOLERANCE:.0%})"
        )
    speakers = {s.speaker for cut in cuts for s in cut.supervisions}
    cuts.to_file(folder / "cuts.jsonl.gz")
    result = Prepared(name, split, len(cuts), found / 3600, len(speakers), *digests)
    receipt.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return result
