"""Scoring splices by a search: whole choices are decoded, harm is counted on the best tokens that it reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.recording import Recording, record
from edge_asr.evaluation.splice_scorer import SearchScorer, SpliceScorer, scorer
from edge_asr.evaluation.wer import edits, word_errors
from edge_asr.runtime.recognizer import Recognizer


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load("en-tiny")


@pytest.fixture(scope="module")
def recordings(recognizer: Recognizer, samples: Path) -> list[Recording]:
    return [record(recognizer, u) for u in load_dataset(samples / "manifest.jsonl")[:2]]


def test_a_decoder_scores_whole_choices(recognizer: Recognizer, recordings: list[Recording]) -> None:
    tokens, blank = recognizer.tokens, recognizer.bundle.spec.tokens.blank
    decoder = recognizer.decoder("lm")
    found, greedy = scorer(recordings, tokens, blank, decoder), SpliceScorer(recordings, tokens, blank)
    assert isinstance(found, SearchScorer)
    rng = np.random.default_rng(0)
    for number, recording in enumerate(recordings):
        exits = rng.integers(1, 7, len(recording.chunks)).tolist()
        text = recording.decode(exits, decoder.start()).text
        assert found.text(number, exits) == text
        assert found.errors(number, exits) == word_errors(recording.utterance.text, text).errors
    assert found.words.tolist() == greedy.words.tolist()
    assert sum(found.errors(i, [6] * len(r.chunks)) for i, r in enumerate(recordings)) < sum(
        greedy.errors(i, [6] * len(r.chunks)) for i, r in enumerate(recordings)
    )


def test_harm_is_counted_in_phones_where_they_are_read(recognizer: Recognizer, recordings: list[Recording]) -> None:
    tokens, blank, decoder = recognizer.tokens, recognizer.bundle.spec.tokens.blank, recognizer.decoder("lm")
    split = replace(
        recordings[0], chunks=(recordings[0].chunks[0], *(replace(c, piece=1) for c in recordings[0].chunks[1:]))
    )
    found = scorer([*recordings, split], tokens, blank, decoder)

    def errors(recording: Recording, exits: list[int]) -> int:
        reference = [phone for word in recording.utterance.text.split() for phone in decoder.said(word)]
        said: list[int] = []
        for _, piece in groupby(zip(recording.chunks, exits, strict=True), key=lambda pair: pair[0].piece):
            frames = [
                p for chunk, exit in piece if chunk.phones is not None for p in chunk.phones[exit - 1].argmax(axis=1)
            ]
            said += [phone for phone, _ in groupby(frames) if phone]
        return Levenshtein.distance(reference, said)

    for number, recording in enumerate([*recordings, split]):
        harm = found.harm(number)
        deep = [6] * len(recording.chunks)
        assert harm.shape == (len(deep), 6)
        for k in range(len(deep)):
            for exit in (1, 3, 6):
                expected = errors(recording, [*deep[:k], exit, *deep[k + 1 :]]) - errors(recording, deep)
                assert harm[k, exit - 1] == expected
    assert found.harm(0).sum() > 0


def test_without_phones_harm_is_that_of_greedy_texts(recognizer: Recognizer, recordings: list[Recording]) -> None:
    tokens, blank = recognizer.tokens, recognizer.bundle.spec.tokens.blank
    found, greedy = (
        scorer(recordings, tokens, blank, recognizer.decoder("beam")),
        SpliceScorer(recordings, tokens, blank),
    )
    assert np.array_equal(found.harm(0), greedy.harm(0))
    mute = [replace(r, chunks=tuple(replace(c, phones=None) for c in r.chunks)) for r in recordings]
    assert np.array_equal(scorer(mute, tokens, blank, recognizer.decoder("lm")).harm(0), greedy.harm(0))


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8))
def test_edits(reference: list[int], hypothesis: list[int]) -> None:
    assert edits(reference, hypothesis) == Levenshtein.distance(reference, hypothesis)


def test_greedy_needs_no_search(recognizer: Recognizer) -> None:
    assert type(scorer([], recognizer.tokens, 0, recognizer.decoder("greedy"))) is SpliceScorer
