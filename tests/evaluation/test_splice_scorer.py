"""Scoring splices by a search: whole choices are decoded, harm stays greedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.recording import record
from edge_asr.evaluation.splice_scorer import SearchScorer, SpliceScorer, scorer
from edge_asr.evaluation.wer import word_errors
from edge_asr.runtime.recognizer import Recognizer


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load("en-tiny")


def test_a_decoder_scores_whole_choices_and_harm_stays_greedy(recognizer: Recognizer, samples: Path) -> None:
    recordings = [record(recognizer, u) for u in load_dataset(samples / "manifest.jsonl")[:2]]
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
        assert np.array_equal(found.harm(number), greedy.harm(number))
    assert found.words.tolist() == greedy.words.tolist()
    assert sum(found.errors(i, [6] * len(r.chunks)) for i, r in enumerate(recordings)) < sum(
        greedy.errors(i, [6] * len(r.chunks)) for i, r in enumerate(recordings)
    )


def test_greedy_needs_no_search(recognizer: Recognizer) -> None:
    assert type(scorer([], recognizer.tokens, 0, recognizer.decoder("greedy"))) is SpliceScorer
