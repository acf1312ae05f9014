"""Decoders as streams use them: odd inputs, long ones, words, what settles and what is stable."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_asr.decoding.beam_decoding import BeamDecoding
from edge_asr.decoding.decoder import DECODERS, Decoder
from edge_asr.decoding.decoding import REVISITABLE, Decoding, GreedyDecoding
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.words import Confidence, words_of
from edge_asr.errors import NumericError, OptionError
from tests.decoding.alignments import PIECES, random_log_probs


def sure(path: list[int]) -> Any:
    return np.log(np.eye(len(PIECES), dtype=np.float32)[path] * 0.998 + 0.0002)


@pytest.fixture(params=DECODERS)
def decoding(request: pytest.FixtureRequest, lm: NgramModel) -> Decoding:
    return Decoder(request.param, PIECES, lm=lm).start()


def test_nothing(decoding: Decoding) -> None:
    assert decoding.result(3).text == ""
    assert decoding.partial(np.zeros((0, len(PIECES)), dtype=np.float32)).text == ""
    decoding.push(np.zeros((0, len(PIECES)), dtype=np.float32))
    decoding.boundary()
    assert decoding.result(3).words == ()
    assert decoding.last_token_frame is None


def test_silence(decoding: Decoding) -> None:
    for _ in range(50):
        decoding.push(sure([0] * 16))
    assert decoding.result().text == ""
    assert decoding.result().tokens == ()


def test_one_frame(decoding: Decoding) -> None:
    decoding.push(sure([2]))
    assert decoding.result().text == "A"
    (word,) = decoding.result().words
    assert (word.word, word.start, word.end) == ("A", 0, 1)
    assert 0.5 < word.confidence <= 1.0


def test_words_begin_and_end_at_their_tokens(decoding: Decoding) -> None:
    decoding.push(sure([0, 0, 2, 2, 0]))
    decoding.push(sure([4, 0, 0, 3, 0, 5]))
    words = decoding.result().words
    assert [(word.word, word.start, word.end) for word in words] == [("AN", 2, 6), ("THE", 8, 11)]
    assert decoding.last_token_frame == 10


def test_log_probabilities_of_minus_infinity_are_numbers(decoding: Decoding) -> None:
    with np.errstate(divide="ignore"):
        decoding.push(np.log(np.eye(len(PIECES), dtype=np.float32)[[2, 4, 0, 3, 5]]))
    assert decoding.result().text == "AN THE"
    decoding.push(np.full((3, len(PIECES)), -np.inf, dtype=np.float32))
    assert decoding.result().text is not None


@pytest.mark.parametrize("shape", [(3, 4), (8,), (2, 2, 8)])
def test_wrong_shapes(decoding: Decoding, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="log_probs has shape"):
        decoding.push(np.zeros(shape, dtype=np.float32))


def test_nan(decoding: Decoding) -> None:
    decoding.push(sure([2]))
    bad = sure([4, 4])
    bad[1, 3] = np.nan
    with pytest.raises(NumericError, match="NaN"):
        decoding.push(bad)
    decoding.push(sure([4]))
    assert decoding.result().text == "AN"


@pytest.mark.parametrize(("chunk", "frames"), [(-1, 4), (0, 4), (REVISITABLE + 2, 4), (REVISITABLE + 1, 5)])
def test_chunks_that_can_not_be_replaced(decoding: Decoding, chunk: int, frames: int) -> None:
    for _ in range(REVISITABLE + 2):
        decoding.push(sure([0, 2, 0, 4]))
    with pytest.raises(OptionError, match="chunk="):
        decoding.replace(chunk, sure([0] * frames))


@pytest.mark.parametrize("name", DECODERS)
def test_an_hour_of_silence(lm: NgramModel, name: str) -> None:
    decoding = Decoder(name, PIECES, lm=lm).start()
    started = time.perf_counter()
    decoding.push(sure([2, 4] + [0] * 90_000 + [3, 5]))
    assert time.perf_counter() - started < 5.0
    assert decoding.result().text == "AN THE"


def test_long_audio(lm: NgramModel) -> None:
    """Five minutes, half of them speech: the work per chunk stays the same and the history is cut."""
    decoding = Decoder("lm", PIECES, lm=lm).start()
    assert isinstance(decoding, BeamDecoding)
    chunk = sure([0, 2, 4, 0, 0, 3, 5, 4, 0, 0, 2, 4, 7, 0, 0, 0])
    seconds = []
    for start in range(0, 7_600, 16 * 25):
        started = time.perf_counter()
        for _ in range(25):
            decoding.push(chunk)
        decoding.partial(chunk[:0])
        seconds.append(time.perf_counter() - started)
        if start % 4_000 == 0:
            decoding.boundary()
    ranked = decoding._search.rank(decoding._state)
    assert len(ranked[0].history.tokens()) < 400
    assert max(seconds[-5:]) < 3 * max(seconds[:10]) + 0.1
    result = decoding.result()
    assert result.text.split() == ["AN", "THEN", "AND"] * (7_600 // 16)
    assert result.words[-1].start == 7_600 - 16 + 10


def test_partial_texts_grow_from_stable_words(lm: NgramModel) -> None:
    path = [0, 2, 4, 0, 0, 3, 5, 0, 2, 4, 7, 0] * 25
    others = np.exp(random_log_probs(3, len(path)))
    log_probs = np.log(0.8 * np.eye(len(PIECES), dtype=np.float32)[path] + 0.2 * others)
    decoding = Decoder("lm", PIECES, lm=lm).start()
    kept, broken = [], 0
    for chunk in np.split(log_probs, range(8, 300, 8)):
        decoding.push(chunk)
        partial = decoding.partial(chunk[:0])
        words = partial.text.split()
        assert partial.stable <= len(words)
        broken += words[: len(kept)] != kept
        kept = words[: partial.stable]
    assert len(kept) > 40
    assert broken <= 2


def test_provisional_frames_are_not_taken(decoding: Decoding) -> None:
    decoding.push(sure([2, 4]))
    assert decoding.partial(sure([0, 3, 5])).text == "AN THE"
    assert decoding.partial(sure([7])).text == "AND"
    assert decoding.result().text == "AN"


def test_options(lm: NgramModel) -> None:
    with pytest.raises(OptionError, match="decoder='best': expected one of greedy, beam, lm"):
        Decoder("best", PIECES)
    with pytest.raises(OptionError, match="needs a language model"):
        Decoder("lm", PIECES)
    with pytest.raises(OptionError, match="hotwords need a search"):
        Decoder("greedy", PIECES).start([Hotword("and")])


def test_the_text_is_the_likeliest_in_all_its_ways() -> None:
    """``DB`` is the best hypothesis, ``AB`` the best text: two hypotheses, its last token B or AB, have it."""
    probs = np.full((4, 5), 1e-6)
    probs[0, [1, 3, 4]] = 0.30, 0.30, 0.40
    probs[[1, 3], 0] = 0.97
    probs[2, [0, 2]] = 0.5
    decoding = Decoder("beam", ("<blank>", "▁A", "B", "▁AB", "▁D")).start()
    decoding.push(np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32))
    found = decoding.result(3)
    assert found.text == found.alternatives[0].text == "AB"
    assert [word.word for word in found.words] == ["AB"]
    assert [token.id for token in found.tokens] in ([1, 2], [3])
    assert np.exp(found.alternatives[0].score) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_text_is_the_first_alternative(name_and_lm: tuple[str, NgramModel], pieces: int) -> None:
    name, lm = name_and_lm
    for seed in range(20):
        decoding = Decoder(name, PIECES, lm=lm).start()
        for number in range(pieces):
            if number:
                decoding.boundary()
            decoding.push(random_log_probs(seed + 100 * number, 8, sharp=1.0))
        found = decoding.result(5)
        assert found.text == found.alternatives[0].text == " ".join(word.word for word in found.words)
        assert decoding.result().alternatives == found.alternatives[:1]


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_piece_can_be_decoded_again(name_and_lm: tuple[str, NgramModel], pieces: int) -> None:
    """What was decoded before doesn't change; the piece is as if it had come that way."""
    name, lm = name_and_lm
    again, fresh = (Decoder(name, PIECES, lm=lm).start() for _ in range(2))
    for number in range(pieces):
        if number:
            again.boundary(final=True)
            fresh.boundary(final=True)
        first, better = (random_log_probs(10 * number + seed, 150) for seed in range(2))
        for part in np.array_split(first, 9):
            again.push(part)
        again.restart(better)
        fresh.push(better)
    one, other = again.result(3), fresh.result(3)
    assert (one.text, one.tokens, one.words) == (other.text, other.tokens, other.words)
    assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]
    with pytest.raises(OptionError, match="since the last boundary there were 150"):
        again.restart(better[1:])
    again.push(first[:3])
    with pytest.raises(OptionError, match="can't be replaced"):
        again.replace(0, first[:3])


@pytest.fixture(params=DECODERS)
def name_and_lm(request: pytest.FixtureRequest, lm: NgramModel) -> tuple[str, NgramModel]:
    return request.param, lm


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), steps=st.lists(st.sampled_from("ppprbRs"), min_size=1, max_size=40))
@example(seed=2128, steps=["p", "p", "r"])
def test_a_greedy_partial_is_what_a_fresh_reading_of_the_tokens_says(seed: int, steps: list[str]) -> None:
    """Words that are over are kept from call to call; pushes, replacements, cuts and restarts don't confuse them."""
    rng, decoding, sizes = np.random.default_rng(seed), GreedyDecoding(PIECES), list[int]()

    def frames(count: int) -> npt.NDArray[np.float32]:
        rows: npt.NDArray[np.float32] = sure(rng.integers(0, len(PIECES), count).tolist())
        return rows

    for step in steps:
        if step == "p":
            sizes.append(int(rng.integers(1, 9)))
            decoding.push(frames(sizes[-1]))
        elif step == "r" and sizes:
            decoding.replace(decoding._chunks - 1, frames(sizes[-1]))
        elif step in "bR":
            if step == "R" and sizes:
                decoding.restart(frames(sum(sizes)))
            decoding.boundary()
            sizes = []
        provisional = frames(3) if step == "s" else frames(1)[:0]
        words = words_of([*decoding._tokens, *decoding._decoder.peek(provisional)], PIECES, Confidence())
        partial = decoding.partial(provisional)
        assert partial.text == " ".join(word.word for word in words)
        assert partial.stable == max(0, len(words_of(decoding._tokens, PIECES, Confidence())) - 1)
