"""Unpacking checks what it unpacks, and does nothing twice."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from edge_asr.errors import DataError
from edge_asr.training.data.unpack import extract, find_pairs, unpack
from tests.training.corpora import write_pair


def test_unpacks_once(tmp_path: Path) -> None:
    write_pair(tmp_path / "in" / "train", "tones", 5, 0)
    [(split, tar, manifest)] = find_pairs(tmp_path / "in")
    said: list[str] = []
    first = unpack(split, tar, manifest, tmp_path / "out", said.append)
    assert (first.utterances, first.speakers, first.split) == (5, 3, "train")
    assert said
    said.clear()
    assert unpack(split, tar, manifest, tmp_path / "out", said.append) == first
    assert said == []


def test_a_changed_archive_is_unpacked_again(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    first = unpack("train", tar, manifest, tmp_path / "out")
    write_pair(tmp_path / "in", "tones", 7, 1)
    second = unpack("train", tar, manifest, tmp_path / "out")
    assert second.utterances == 7
    assert second.tar_sha256 != first.tar_sha256


def test_a_damaged_archive(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    tar.write_bytes(tar.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"tones|cannot be"):
        unpack("train", tar, manifest, tmp_path / "out")


def test_wrong_durations(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    rows = [json.loads(line) | {"duration": 99.0} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="durations"):
        unpack("train", tar, manifest, tmp_path / "out")


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=str(folder)):
            find_pairs(folder)


def packed(path: Path, *members: tuple[str, bytes, str, str]) -> tarfile.TarFile:
    """An archive of (name, type, content, link) entries, opened."""
    with tarfile.open(path, "w") as archive:
        for name, kind, content, link in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, link, len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return tarfile.open(path)


def test_files_and_links_are_written_as_files(tmp_path: Path) -> None:
    file = ("a/b.txt", tarfile.REGTYPE, "words", "")
    links = (("a/c.txt", tarfile.SYMTYPE, "", "b.txt"), ("d.txt", tarfile.LNKTYPE, "", "a/b.txt"))
    with packed(tmp_path / "a.tar", ("a", tarfile.DIRTYPE, "", ""), file, *links) as archive:
        extract(archive, tmp_path / "out")
    for name in ("a/b.txt", "a/c.txt", "d.txt"):
        assert (tmp_path / "out" / name).read_text() == "words"
        assert not (tmp_path / "out" / name).is_symlink()


@pytest.mark.parametrize(
    ("name", "kind", "link", "message"),
    [
        ("../a.txt", tarfile.REGTYPE, "", "leads out of the folder"),
        ("/a.txt", tarfile.REGTYPE, "", "leads out of the folder"),
        ("a.txt", tarfile.SYMTYPE, "/etc/passwd", "links to '/etc/passwd', which is not there"),
        ("a.txt", tarfile.FIFOTYPE, "", "neither file, link nor folder"),
    ],
)
def test_what_an_archive_may_not_hold(tmp_path: Path, name: str, kind: bytes, link: str, message: str) -> None:
    (tmp_path / "out").mkdir()
    with packed(tmp_path / "a.tar", (name, kind, "", link)) as archive, pytest.raises(tarfile.TarError, match=message):
        extract(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "a.txt").exists()


def test_durations_are_compared_where_they_are_stated(tmp_path: Path) -> None:
    tar, manifest = write_pair(tmp_path / "in", "tones", 5, 0)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows[1:]:
        del row["duration"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert unpack("train", tar, manifest, tmp_path / "out").utterances == 5
    rows[0]["duration"] *= 1.5
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="durations"):
        unpack("train", tar, manifest, tmp_path / "out")


def test_a_tar_without_its_manifest(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "tones", 2, 0)
    _, manifest = write_pair(tmp_path / "noise", "clips", 2, 0)
    manifest.unlink()  # noise has none
    assert len(find_pairs(tmp_path)) == 1
    _, manifest = write_pair(tmp_path / "train", "orphan", 2, 0)
    manifest.rename(manifest.with_name("orphans.jsonl"))
    with pytest.raises(DataError, match=r"orphan\.tar' lacks its manifest 'orphan\.jsonl'"):
        find_pairs(tmp_path)
