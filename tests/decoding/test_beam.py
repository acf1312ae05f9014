"""The beam search against the sum over all alignments, and against itself however frames are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.decoding.beam_config import RANGES, BeamConfig
from edge_asr.decoding.decoder import Decoder
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import OptionError
from tests.decoding.alignments import EXACT, PIECES, language_score, random_log_probs, text_scores


def nbest(name: str, lm: NgramModel | None, log_probs: Any, hotwords: Any = (), **options: Any) -> dict[str, float]:
    decoding = Decoder(name, PIECES, lm=lm, config=BeamConfig(**{**EXACT, **options})).start(hotwords)
    decoding.push(log_probs)
    return {one.text: one.score for one in decoding.result(10_000).alternatives}


@pytest.mark.parametrize(("blank_penalty", "acoustic_scale"), [(0.0, 1.0), (1.5, 0.6)])
@pytest.mark.parametrize("seed", range(4))
def test_without_pruning_a_text_has_the_probability_of_all_its_alignments(
    seed: int, blank_penalty: float, acoustic_scale: float
) -> None:
    log_probs = random_log_probs(seed, 3)
    options = {"word_bonus": 0.0, "blank_penalty": blank_penalty, "acoustic_scale": acoustic_scale}
    found = nbest("beam", None, log_probs, **options)
    log_probs[:, 0] -= blank_penalty
    log_probs *= acoustic_scale
    wanted = text_scores(log_probs)
    assert found.keys() == wanted.keys()
    for text, score in wanted.items():
        assert found[text] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("lexicon", [True, False])
@pytest.mark.parametrize("hotwords", [(), (Hotword("nan", 2.0), Hotword("the den", 0.7), Hotword("a", -1.0))])
def test_with_words_and_phrases_a_texts_score_is_what_the_parts_add_up_to(
    lm: NgramModel, lexicon: bool, hotwords: tuple[Hotword, ...]
) -> None:
    for seed in range(2):
        log_probs = random_log_probs(seed, 3)
        config = BeamConfig(lexicon=lexicon, unknown_penalty=3.0)
        wanted = {t: s + language_score(t, lm, config, hotwords) for t, s in text_scores(log_probs).items()}
        wanted = {t: s for t, s in wanted.items() if np.isfinite(s)}
        found = nbest("lm", lm, log_probs, hotwords, lexicon=lexicon, unknown_penalty=3.0)
        if lexicon and hotwords:
            assert found.keys() >= wanted.keys()  # a word of a phrase may stand alone when the end cuts the phrase
        else:
            assert found.keys() == wanted.keys()
        for text, score in wanted.items():
            if "DEN" not in text:
                assert found[text] == pytest.approx(score, abs=1e-3), text


def test_a_tokens_probability_is_the_models_whatever_the_weights(lm: NgramModel) -> None:
    log_probs = random_log_probs(3, 12, sharp=4.0)
    weighed = BeamConfig(blank_penalty=2.0, acoustic_scale=0.5)
    decoding = Decoder("lm", PIECES, lm=lm, config=weighed).start()
    decoding.push(log_probs)
    tokens = decoding.result().tokens
    assert tokens
    for token in tokens:
        assert token.log_prob == pytest.approx(float(log_probs[token.frame, token.id]), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 12), max_size=6), st.sampled_from(["greedy", "beam", "lm"]))
def test_cuts_change_nothing(lm: NgramModel, seed: int, cuts: list[int], name: str) -> None:
    log_probs = random_log_probs(seed, 40, sharp=4.0)
    decoder = Decoder(name, PIECES, lm=lm)
    whole = decoder.start()
    whole.push(log_probs)
    parts = decoder.start()
    for part in np.split(log_probs, np.cumsum(cuts)):
        parts.push(part)
    assert parts.result(5) == whole.result(5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=4),
    st.sampled_from(["greedy", "beam", "lm"]),
)
def test_a_revisit_gives_what_a_fresh_decoding_of_the_repaired_sequence_gives(
    lm: NgramModel, seed: int, revisits: list[tuple[int, int]], name: str
) -> None:
    chunks = [random_log_probs(seed + i, 16, sharp=4.0) for i in range(9)]
    decoder = Decoder(name, PIECES, lm=lm)
    decoding = decoder.start()
    for number, chunk in enumerate(chunks):
        decoding.push(chunk)
        for when, back in revisits:
            if when == number and back <= number:
                chunks[number - back] = random_log_probs(seed + 100 + when, 16, sharp=4.0)
                decoding.replace(number - back, chunks[number - back])
    fresh = decoder.start()
    for chunk in chunks:
        fresh.push(chunk)
    assert decoding.result(3).text == fresh.result(3).text
    assert decoding.result(3).words == fresh.result(3).words


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=60))
def test_sure_frames_give_the_greedy_text_at_any_width(path: list[int]) -> None:
    log_probs = np.log(np.eye(len(PIECES), dtype=np.float32)[path] * 0.99 + 0.01 / len(PIECES))
    greedy = Decoder("greedy", PIECES).start()
    greedy.push(log_probs)
    for width in (1, 8):
        beam = Decoder("beam", PIECES, config=BeamConfig(width=width, word_bonus=0.0)).start()
        beam.push(log_probs)
        assert beam.result().text == greedy.result().text


def test_any_way_to_cut_a_word_into_pieces_counts(lm: NgramModel) -> None:
    # "AN" is ▁A N or ▁ AN: neither alone is as likely as "AND", both together are.
    probs = np.full((3, len(PIECES)), 1e-6, dtype=np.float32)
    probs[0, [1, 2]] = 0.5, 0.5
    probs[1, [6, 4]] = 0.5, 0.5
    probs[2, [0, 7]] = 0.5, 0.4
    found = nbest("beam", None, np.log(probs), word_bonus=0.0)
    assert found["AN"] > found["AND"]
    assert found["AN"] == pytest.approx(np.log(2 * 0.25 * 0.5), abs=1e-3)


def test_a_boundary_ends_the_word_and_the_repeat() -> None:
    for name in ("greedy", "beam"):
        decoding = Decoder(name, PIECES).start()
        decoding.push(np.log(np.eye(len(PIECES), dtype=np.float32)[[2, 4]] + 1e-5))
        decoding.boundary()
        decoding.push(np.log(np.eye(len(PIECES), dtype=np.float32)[[4, 5]] + 1e-5))
        assert decoding.result().text == "AN NE"


@pytest.mark.parametrize("name", [*RANGES, "lexicon", "recombine"])
@pytest.mark.parametrize("value", [-30, 1e9, float("nan"), "2", None, True])
def test_settings_out_of_range(name: str, value: Any) -> None:
    if name not in RANGES and value is True:
        return
    with pytest.raises(OptionError, match=rf"{name}=.*: expected"):
        BeamConfig(**{name: value})
