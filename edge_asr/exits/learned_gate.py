"""Criterion: a small logistic model per exit, trained on the exits' own statistics."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edge_asr.errors import OptionError
from edge_asr.exits.base import Criterion
from edge_asr.exits.disagreement import edit_distance
from edge_asr.exits.text_posterior import text_log_posteriors
from edge_asr.exits.view import ExitView

FEATURES = (
    "entropy",
    "max_posterior",
    "margin",
    "blank",
    "nonblank_entropy",
    "nonblank_max_posterior",
    "nonblank_share",
    "disagreement",
    "entropy_before",
    "token_posterior",
    "log_token_posterior",
    "text_posterior",
    "earlier_text_posterior",
)
LEAST = -9.0
"""Below this a token's log-posterior says nothing more."""


def gate_features(view: ExitView) -> npt.NDArray[np.float64]:
    """Computes the numbers that a gate looks at, (13,), in the order of `FEATURES`.

    ``nonblank_share`` is the share of frames in the nonblank means' sense, ``entropy_before`` the mean entropy
    of the exit before (at exit 1 its own). ``text_posterior`` is P(text | chunk) of the best path's text, summed over
    alignments, ``token_posterior`` its root by the number of tokens (see `SentenceConfidence`), and
    ``earlier_text_posterior`` what this exit thinks of the text that the exit before read (at exit 1 its own).
    A view's are computed once: a policy asks for them, and then a monitor and a budget do.
    """
    if FEATURES not in view.memo:
        view.memo[FEATURES] = _features(view)
    found: npt.NDArray[np.float64] = view.memo[FEATURES]
    return found


def _features(view: ExitView) -> npt.NDArray[np.float64]:
    nonblank, before = view.nonblank, view.before or view
    text, earlier = view.tokens, before.tokens
    changed = edit_distance(text, earlier) / max(1, len(text), len(earlier))
    ours, theirs = text_log_posteriors(view.log_probs, [text, earlier], view.blank).tolist()
    per_token = max(ours / max(1, len(text)), LEAST)
    return np.array(
        [
            *view.stats,
            nonblank.entropy,
            nonblank.max_posterior,
            float((view.frames[:, 3] <= 0.95).mean()),
            1.0 if view.before is None else changed,
            before.stats.entropy,
            math.exp(per_token),
            per_token,
            math.exp(ours),
            math.exp(theirs),
        ]
    )


@dataclass(frozen=True, slots=True)
class LearnedGate(Criterion):
    """The probability that going deeper wouldn't repair anything: large is sure.

    ``policy.json`` holds, for each chunk size, ``{"features": FEATURES, "exits": [[bias, w1, …, w13], …]}`` with
    one row for each exit but the last; the value is ``1 / (1 + exp(-(bias + Σ w·feature)))``.

    Attributes:
        rows: Bias and weights of each exit but the last; empty until `configured`.
    """

    name: ClassVar[str] = "learned_gate"
    rows: tuple[tuple[float, ...], ...] = ()

    def value(self, view: ExitView) -> float:
        """Gives the probability.

        Raises:
            OptionError: If the gate has no weights for the exit.
        """
        if not 1 <= view.exit <= len(self.rows):
            raise OptionError(f"learned_gate has weights for {len(self.rows)} exits, not for exit {view.exit}")
        bias, *weights = self.rows[view.exit - 1]
        score = bias + float(np.dot(weights, gate_features(view)))
        return 1.0 / (1.0 + math.exp(-min(max(score, -60.0), 60.0)))

    def configured(self, parameters: Mapping[str, Any], exits: int) -> LearnedGate:
        """Gives the gate with weights; see the class.

        Raises:
            OptionError: If they aren't a list of rows of finite numbers, one for each exit but the last.
        """
        if parameters.get("features") != list(FEATURES):
            raise OptionError(f"learned_gate: features {parameters.get('features')!r}: expected {list(FEATURES)}")
        rows = parameters.get("exits")
        if not isinstance(rows, list) or len(rows) != exits - 1:
            raise OptionError(f"learned_gate: expected weights of {exits - 1} exits, one row each")
        for exit, row in enumerate(rows, start=1):
            numbers = isinstance(row, list) and all(map(_is_number, row))
            if not numbers or len(row) != len(FEATURES) + 1:
                raise OptionError(f"learned_gate: row of exit {exit}: expected {len(FEATURES) + 1} finite numbers")
        return LearnedGate(tuple(tuple(float(value) for value in row) for row in rows))

    def parameters(self) -> dict[str, Any]:
        """Gives what `configured` takes."""
        return {"features": list(FEATURES), "exits": [list(row) for row in self.rows]}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
