"""Criterion: the probability of the best text, for whole utterances (``full``) above all."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_asr.exits.base import Criterion
from edge_asr.exits.view import ExitView


class SentenceConfidence(Criterion):
    """CTC posterior of the best path's text given the audio, per token (geometric mean): large is sure.

    All alignments of the text are summed, so a token whose place is unsure costs nothing. The papers' sentence
    confidence (arXiv 2309.09546) is a softmax over the scores of an n-best list; this is the absolute
    posterior of the first of that list, which needs no beam search. An empty text counts as one token.
    """

    name = "sentence_confidence"

    def value(self, view: ExitView) -> float:
        """Gives the confidence, from 0 to 1."""
        tokens = view.tokens
        return math.exp(ctc_log_posterior(view.log_probs, tokens, view.blank) / max(1, len(tokens)))


def ctc_log_posterior(log_probs: npt.NDArray[np.float32], tokens: list[int], blank: int = 0) -> float:
    """Computes log P(tokens | audio), summed over alignments. Source: Graves et al. 2006, forward variables.

    Args:
        log_probs: (T, V), T ≥ 1.
        tokens: Ids without blanks.
        blank: Id of the blank.

    Returns:
        The logarithm; -inf if the tokens don't fit in T frames.

    Example:
        >>> uniform = np.full((2, 2), np.log(0.5), dtype=np.float32)
        >>> round(math.exp(ctc_log_posterior(uniform, [1])), 2)
        0.75
    """
    labels = np.full(2 * len(tokens) + 1, blank)
    labels[1::2] = tokens
    skip = np.zeros(len(labels), dtype=bool)  # may the blank before be left out?
    skip[2:] = (labels[2:] != blank) & (labels[2:] != labels[:-2])
    scores = log_probs[:, labels].astype(np.float64)
    alpha = np.full(len(labels), -np.inf)
    alpha[:2] = scores[0, :2]
    for frame in scores[1:]:
        one = np.concatenate([[-np.inf], alpha[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], alpha])[: len(labels)], -np.inf)
        alpha = np.logaddexp(np.logaddexp(alpha, one), two) + frame
    return float(np.logaddexp.reduce(alpha[-2:]))
