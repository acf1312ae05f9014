"""The definition of what a beam search approximates: every alignment, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel

PIECES = ("<blank>", "▁", "▁A", "▁TH", "N", "E", "AN", "D")
EXACT: dict[str, Any] = {
    "recombine": False,
    "width": 1024,
    "beam": 1000.0,
    "tokens": 1000,
    "token_min": 1e-12,
    "blank_skip": 1.0,
}
"""Settings that prune nothing in these tests."""


def random_log_probs(seed: int, frames: int, size: int = len(PIECES), sharp: float = 1.5) -> npt.NDArray[np.float32]:
    """Random log-probabilities (frames, size) that sum to 1; the larger ``sharp``, the surer."""
    logits = np.random.default_rng(seed).normal(size=(frames, size)) * sharp
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), dtype=np.float32)


def collapse(path: Sequence[int], pieces: Sequence[str] = PIECES) -> str:
    """The text of an alignment: repeats merged, blanks dropped."""
    kept = [token for i, token in enumerate(path) if token and (i == 0 or path[i - 1] != token)]
    return " ".join("".join(pieces[token] for token in kept).replace("▁", " ").split())


def text_scores(log_probs: npt.NDArray[Any]) -> dict[str, float]:
    """The log-probability of each text: the sum over all its alignments."""
    scores: dict[str, float] = {}
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        text = collapse(path)
        score = float(sum(log_probs[t, token] for t, token in enumerate(path)))
        scores[text] = float(np.logaddexp(scores.get(text, -np.inf), score))
    return scores


def language_score(text: str, lm: NgramModel | None, config: BeamConfig, hotwords: Iterable[Hotword] = ()) -> float:
    """What a text gains from the language model, bonuses and phrases; -inf if it isn't allowed."""
    words = text.split()
    score = config.word_bonus * len(words)
    boosted = f" {text} "
    for hotword in hotwords:
        count = sum(boosted.startswith(f" {hotword.phrase} ", i) for i in range(len(boosted)))
        score += count * hotword.boost * len(hotword.phrase.replace(" ", ""))
    if lm is not None:
        known = {word for hotword in hotwords for word in hotword.phrase.split() if f" {hotword.phrase} " in boosted}
        score += config.lm_weight * math.log(10) * lm.score_words(words)
        for word in words:
            if lm.word_id(word) == 0 and word not in known:
                score += -math.inf if config.lexicon else -config.unknown_penalty
    return score
