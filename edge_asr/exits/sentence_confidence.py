"""Criterion: the probability of the best text, for whole utterances (``full``) above all."""

from __future__ import annotations

import math

from edge_asr.exits.base import Criterion
from edge_asr.exits.text_posterior import text_log_posteriors
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
        return math.exp(text_log_posteriors(view.log_probs, [tokens], view.blank)[0] / max(1, len(tokens)))
