"""Text: normalised for comparison, lower-case for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.decoding.text import Formatter, lower_case, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("hello world", "HELLO WORLD"),
        ("Don’t  stop!", "DON'T STOP"),
        ("well-known café, naïve", "WELL KNOWN CAFE NAIVE"),
        ("'TIS the players' turn", "'TIS THE PLAYERS' TURN"),
        ("she said ' no ' twice", "SHE SAID NO TWICE"),
        ("a\tb\nc", "A B C"),
        ("room 101", "ROOM"),
        ("straße", "STRASSE"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text("abzABZ'’`´-éßİœфﬁÅ 09.\n\t\u0301"))
def test_normalise_is_stable_and_keeps_to_its_letters(text: str) -> None:
    result = normalise(text)
    assert set(result) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
    assert "  " not in result
    assert result == result.strip()
    assert normalise(result) == result
    assert normalise(lower_case(result)) == result


def test_the_default_formatter_keeps_apostrophes() -> None:
    formatter: Formatter = lower_case
    assert formatter("DON'T STOP") == "don't stop"
