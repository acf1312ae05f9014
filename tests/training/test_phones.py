"""Pronunciations: the dictionary's format, possessives, unknown words, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asr.errors import DataError
from edge_asr.training.phones import PHONES, Pronunciations

TEXT = """;;; a remark
'em AH0 M
a AH0
a(2) EY1
cat K AE1 T
dog D AO1 G
horse HH AO1 R S # an animal

zürich Z UH1 R IH0 K
"""


@pytest.fixture
def said(tmp_path: Path) -> Pronunciations:
    (tmp_path / "words.dict").write_text(TEXT, encoding="utf-8")
    return Pronunciations.read(tmp_path / "words.dict")


def spell(ids: list[int] | None) -> str:
    assert ids is not None
    return " ".join(PHONES[i - 1] for i in ids)


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("A CAT", "▁AH ▁K AE T"),  # the first of two pronunciations, without stress
        ("'EM", "▁AH M"),
        ("CAT'S", "▁K AE T S"),
        ("DOG'S", "▁D AO G Z"),
        ("HORSE'S", "▁HH AO R S AH Z"),
        ("cat", "▁K AE T"),
        ("", ""),
    ],
)
def test_transcripts_become_phones(said: Pronunciations, text: str, phones: str) -> None:
    assert spell(said.encode(text)) == phones


def test_an_unknown_word_leaves_the_utterance_out(said: Pronunciations) -> None:
    assert said.encode("A CAT AND A DOG") is None
    assert said.encode("AND'S") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cat K AE1 T\ndog D QQ G\n", "line 2: the phone 'QQ'"),
        (b"cat\n", "line 1: no phones"),
        (b"cat K AE1 T\ndog(2)\n", "line 2: no phones"),
        (b"cat \xe2\x96\x81K AE1 T\n", "line 1: the phone '▁K'"),
        (b";;; nothing\n", "hold no word"),
        (b"", "hold no word"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "bad.dict").write_bytes(data)
    with pytest.raises(DataError, match=message):
        Pronunciations.read(tmp_path / "bad.dict")
    with pytest.raises(DataError, match="cannot be read"):
        Pronunciations.read(tmp_path / "missing.dict")
