"""The tokeniser round-trips text, keeps blank apart, and refuses what it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.errors import DataError
from edge_asr.training.tokenizer import BLANK, Tokenizer

TEXTS = ["THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG", "IT'S A SMALL WORLD", "HE WALKED TO THE HOUSE"] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 32)


@given(words=st.lists(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ'", min_size=1, max_size=9), max_size=9))
def test_round_trip(tokenizer: Tokenizer, words: list[str]) -> None:
    ids = tokenizer.encode(" ".join(words))
    assert all(0 < i < len(tokenizer) for i in ids)
    assert tokenizer.decode(ids) == " ".join(words)


def test_blank_is_first(tokenizer: Tokenizer) -> None:
    assert len(tokenizer) == 32
    assert tokenizer.pieces()[0] == BLANK
    assert len(set(tokenizer.pieces())) == 32


def test_unknown_characters_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="CAFÉ"):
        tokenizer.encode("CAFÉ")


def test_too_many_tokens_for_the_text() -> None:
    with pytest.raises(DataError, match="500"):
        Tokenizer.train(["AB"], 500)
