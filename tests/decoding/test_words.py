"""Words from tokens, their confidence, and when an utterance is over."""

from __future__ import annotations

from typing import Any

import pytest

from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.decoding.greedy import Token
from edge_asr.decoding.hypotheses import BREAK
from edge_asr.decoding.words import Confidence, words_of
from edge_asr.errors import OptionError

PIECES = ("<blank>", "▁", "▁A", "N", "▁THE", "▁A▁B")


def spelled(*ids: int) -> list[tuple[str, int, int]]:
    tokens = [Token(token, 2 * place, -0.5) for place, token in enumerate(ids)]
    return [(word.word, word.start, word.end) for word in words_of(tokens, PIECES, Confidence())]


def test_words() -> None:
    assert spelled() == []
    assert spelled(1) == []
    assert spelled(3, 3) == [("NN", 0, 3)]
    assert spelled(2, 3, 4) == [("AN", 0, 3), ("THE", 4, 5)]
    assert spelled(1, 3, 1, 1, 3) == [("N", 2, 3), ("N", 8, 9)]
    assert spelled(2, BREAK, 3) == [("A", 0, 1), ("N", 4, 5)]
    assert spelled(5, 3) == [("A", 0, 1), ("BN", 0, 3)]


def test_confidence_falls_with_the_tokens_probabilities() -> None:
    confidence = Confidence()
    values = [confidence([-x / 10]) for x in range(200)]
    assert values == sorted(values, reverse=True)
    assert all(0.0 <= value <= 1.0 for value in values)
    assert confidence([-1e9]) >= 0.0
    for bad in ({"slope": -1.0}, {"offset": float("nan")}):
        with pytest.raises(OptionError, match="confidence"):
            Confidence(**bad)


@pytest.mark.parametrize(
    ("seconds", "last", "over"),
    [
        (2.3, None, False),
        (2.4, None, True),
        (2.4, 1.3, False),
        (2.4, 1.2, True),
        (19.9, 19.0, False),
        (20.0, 19.9, True),
    ],
)
def test_the_three_rules(seconds: float, last: float | None, over: bool) -> None:
    assert EndpointConfig().reached(seconds, last) is over


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "1", None, True])
def test_endpoint_settings_out_of_range(value: Any) -> None:
    with pytest.raises(OptionError, match="silence_after_text="):
        EndpointConfig(silence_after_text=value)
