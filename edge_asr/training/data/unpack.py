"""Unpacking of tar + manifest pairs, with counts, hours and checksums checked."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_asr.errors import DataError
from edge_asr.training.data.corpus import read_corpus

RECEIPT = "prepared.json"
NOISE = "noise"  # the folder of archives that are no corpora
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
        elif tar.parent.name != NOISE:
            raise DataError(f"archive {str(tar)!r} lacks its manifest {manifest.name!r} beside it")
    if not pairs:
        raise DataError(f"data folder {str(root)!r} holds no <split>/<corpus>.tar with a <corpus>.jsonl beside it")
    return pairs


def _receipt(path: Path) -> Prepared | None:
    try:
        return Prepared(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Writes an archive's files below a folder, links as copies of what they mean, and nothing else.

    Python's own filter for this is missing before 3.10.12 and 3.11.4, as Debian 12 has them.

    Raises:
        TarError: a path leads out of the folder, a link to nothing, or something is neither file, link nor folder.
    """
    base = folder.resolve()
    for member in archive:
        path = base / member.name
        if not path.resolve().is_relative_to(base):
            raise tarfile.TarError(f"{member.name!r} leads out of the folder")
        if member.isdir():
            continue
        try:
            source = archive.extractfile(member)
        except KeyError as error:
            raise tarfile.TarError(f"{member.name!r} links to {member.linkname!r}, which is not there") from error
        if source is None:
            raise tarfile.TarError(f"{member.name!r} is neither file, link nor folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


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
            extract(archive, folder)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"archive {str(tar)!r} cannot be unpacked: {error}") from error
    copy = folder / manifest.name
    copy.write_bytes(manifest.read_bytes())
    say(f"checking {split}/{name}")
    cuts = read_corpus(copy)
    rows = [json.loads(line) for line in copy.read_text(encoding="utf-8").splitlines() if line.strip()]
    stated = sum(float(row.get("duration", 0.0)) for row in rows)
    found = sum(cut.duration for cut, row in zip(cuts, rows, strict=True) if "duration" in row)
    if stated and abs(stated - found) > TOLERANCE * found:
        raise DataError(
            f"{manifest}: durations add up to {stated:.0f} s, the audio to {found:.0f} s (allowed: ±{TOLERANCE:.0%})"
        )
    speakers = {s.speaker for cut in cuts for s in cut.supervisions}
    cuts.to_file(folder / "cuts.jsonl.gz")
    result = Prepared(name, split, len(cuts), found / 3600, len(speakers), *digests)
    receipt.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return result
