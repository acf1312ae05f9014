"""Error counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_asr.evaluation.wer import ErrorCount, char_errors, word_errors, words_hit

TEXTS = st.lists(st.sampled_from(["ONE", "TWO", "DON'T", "A"]), max_size=12).map(" ".join)


def test_kinds_of_word_error() -> None:
    assert word_errors("ONE TWO THREE", "ONE FOUR THREE") == ErrorCount(2, 1, 0, 0)
    assert word_errors("ONE TWO THREE", "ONE THREE") == ErrorCount(2, 0, 1, 0)
    assert word_errors("ONE TWO", "ONE AND TWO") == ErrorCount(2, 0, 0, 1)


def test_texts_are_normalised_before_they_are_compared() -> None:
    assert word_errors("DON'T STOP", "don’t — stop!").errors == 0
    assert char_errors("DON'T STOP", "  don't   STOP. ").errors == 0
    assert word_errors("WON'T", "WONT").errors == 1


def test_characters_count_spaces() -> None:
    assert char_errors("A B", "A C") == ErrorCount(2, 1, 0, 0)


def test_empty_texts() -> None:
    assert word_errors("", "") == ErrorCount()
    assert ErrorCount().rate == 0.0
    assert word_errors("", "ONE TWO").rate == 2.0
    assert word_errors("ONE TWO", "").rate == 1.0


@given(TEXTS)
def test_a_text_has_no_errors_against_itself(text: str) -> None:
    assert word_errors(text, text.lower()).errors == char_errors(text, text).errors == 0


@given(TEXTS, TEXTS)
def test_counts_are_consistent(reference: str, hypothesis: str) -> None:
    count = word_errors(reference, hypothesis)
    back = word_errors(hypothesis, reference)
    assert count.reference == len(reference.split())
    assert count.hits + count.substitutions + count.insertions == len(hypothesis.split())
    assert count.errors == back.errors <= max(len(reference.split()), len(hypothesis.split()))


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_pooled_rate_weighs_utterances_by_their_words(pairs: list[tuple[str, str]]) -> None:
    total = sum((word_errors(*pair) for pair in pairs), ErrorCount())
    assert total.reference == sum(len(reference.split()) for reference, _ in pairs)
    assert total.errors == sum(word_errors(*pair).errors for pair in pairs)


@given(TEXTS, TEXTS)
def test_words_hit_are_the_hits_that_are_counted(reference: str, hypothesis: str) -> None:
    hit = words_hit(reference, hypothesis)
    assert len(hit) == len(reference.split())
    assert sum(hit) == word_errors(reference, hypothesis).hits


def test_words_hit_by_place() -> None:
    assert words_hit("ONE TWO THREE", "TWO THREE FOUR") == [False, True, True]
    assert words_hit("", "ONE") == []
