"""The token table: reading, refusing, joining."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import BundleError

PIECES = ("<blank>", "▁", "▁HE", "LLO", "'S", "X")


def write(path: Path, content: bytes) -> Path:
    file = path / "tokens.txt"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_reading(tmp_path: Path, line: str, end: str) -> None:
    file = write(tmp_path, (line.join(PIECES) + (line if end else "")).encode())
    assert TokenTable.load(file, len(PIECES)).pieces == PIECES


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        ([2, 3], "HELLO"),
        ([2, 3, 4, 1, 2, 5], "HELLO'S HEX"),
        ([1, 2, 1, 1, 2], "HE HE"),
        ([3, 2, 1], "LLO HE"),
    ],
)
def test_text(ids: list[int], text: str) -> None:
    assert TokenTable(PIECES).text(ids) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join(PIECES[:-1]).encode(), r"has 5 lines, expected tokens\.size, 6"),
        ("\n".join((*PIECES[:3], "", *PIECES[4:])).encode(), "field 'line 3': is empty"),
        ("\n".join(("A", *PIECES[1:])).encode(), "field 'line 0': is 'A', expected '<blank>'"),
        (b"\xff\xfe", "isn't UTF-8"),
        (b"", "has 1 lines"),
    ],
)
def test_refusing(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        TokenTable.load(write(tmp_path, content), 6)
    assert caught.value.file.endswith("tokens.txt")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"tokens\.txt: missing"):
        TokenTable.load(tmp_path / "tokens.txt", 6)
