"""The normaliser that references and all recognisers' texts go through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asr.evaluation.normaliser import cardinal, comparable, number, ordinal


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("Well—that's it, isn’t it?", "WELL THAT'S IT ISN'T IT"),
        ("‘I saw it,’ he said.", "I SAW IT HE SAID"),
        ("the boys' well-known café", "THE BOYS WELL KNOWN CAFE"),
        ("Mr. and Mrs Bell, Dr. Ray of St. Paul's", "MISTER AND MISSUS BELL DOCTOR RAY OF SAINT PAUL'S"),
        ("[BLANK_AUDIO] Yes (laughs) <unk>", "YES"),
        ("R&B", "R AND B"),
        ("in 1905, 1840 and 1900", "IN NINETEEN OH FIVE EIGHTEEN FORTY AND NINETEEN HUNDRED"),
        ("2005 and 2024", "TWO THOUSAND FIVE AND TWENTY TWENTY FOUR"),
        ("1,905 men", "ONE THOUSAND NINE HUNDRED FIVE MEN"),
        ("the 1840s, the '90s", "THE EIGHTEEN FORTIES THE NINETIES"),
        ("the 2nd, 21st, 30th and 112th", "THE SECOND TWENTY FIRST THIRTIETH AND ONE HUNDRED TWELFTH"),
        ("at 3:05, 10:30 and 6:00", "AT THREE OH FIVE TEN THIRTY AND SIX O'CLOCK"),
        ("$1 or $5.50", "ONE DOLLAR OR FIVE DOLLARS AND FIFTY CENTS"),
        ("£3.01 or €2 million", "THREE POUNDS AND ONE PENNY OR TWO MILLION EUROS"),
        ("12% of 3.14", "TWELVE PERCENT OF THREE POINT ONE FOUR"),
        ("room 007, MP3", "ROOM ZERO ZERO SEVEN MP THREE"),
        ("ONE HUNDRED AND TWENTY MEN AND WOMEN", "ONE HUNDRED TWENTY MEN AND WOMEN"),
        ("A HUNDRED AND THEN SOME", "A HUNDRED AND THEN SOME"),
        ("colour, gray", "COLOUR GRAY"),
        ("… — !", ""),
    ],
)  # fmt: skip
def test_what_is_written_becomes_what_is_heard(written: str, heard: str) -> None:
    assert comparable(written) == heard


@given(st.text())
def test_it_holds_letters_and_apostrophes_inside_words_and_is_stable(text: str) -> None:
    once = comparable(text)
    assert all("A" <= char <= "Z" or char in "' " for char in once)
    assert all(word == word.strip("'") != "" for word in once.split(" ") if once)
    assert comparable(once) == once or "HUNDRED AND" in once or "THOUSAND AND" in once or "MILLION AND" in once


@given(st.integers(0, 10**15 - 1))
def test_numbers_differ_when_they_are_different(n: int) -> None:
    words = cardinal(n)
    assert words == " ".join(words.split())
    assert cardinal(n + 1 if n < 10**15 - 1 else 0) != words
    assert ordinal(n).split()[:-1] == words.split()[:-1]
    assert number(f"{n:,}") == words


def test_references_in_upper_case_letters_stay() -> None:
    text = "MISTER QUILTER IS THE APOSTLE OF THE MIDDLE CLASSES AND WE'RE GLAD"
    assert comparable(text) == text
