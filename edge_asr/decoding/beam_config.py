"""Widths and weights of a beam search."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edge_asr.errors import OptionError

RANGES: dict[str, tuple[float, float]] = {
    "width": (1, 1024),
    "beam": (0.1, 1000.0),
    "tokens": (1, 4096),
    "token_min": (1e-12, 0.5),
    "blank_skip": (0.5, 1.0),
    "blank_penalty": (0.0, 20.0),
    "acoustic_scale": (0.01, 10.0),
    "lm_weight": (0.0, 10.0),
    "word_bonus": (-20.0, 20.0),
    "unknown_penalty": (0.0, 100.0),
}


@dataclass(frozen=True, slots=True)
class BeamConfig:
    """A search's settings. Scores are natural logarithms.

    Args:
        width: Hypotheses kept after each frame.
        beam: A hypothesis further behind the best one is dropped.
        tokens: Tokens tried in a frame.
        token_min: A token that is less likely in a frame isn't tried there.
        blank_skip: A frame whose blank is likelier takes part as silence only; 1 searches all frames.
        blank_penalty: Taken away from the blank's log-probability in each frame; makes up for the tokens that a model
            swallows where it isn't sure.
        acoustic_scale: Multiplies the frames' log-probabilities. Neighbouring frames don't err independently, so that
            their product says too much; below 1 alternatives stay alive longer.
        lm_weight: Weight of the language model's log-probabilities.
        word_bonus: Added for each word; makes up for the words that a language model costs.
        unknown_penalty: Taken away for each word that the language model lacks.
        lexicon: Whether only the language model's words (and hotwords) may be spelled.
        recombine: Of hypotheses that only differ in words which the language model has forgotten, keep the best. That
            is worth a wider search; alternatives then differ in late words mostly.

    Raises:
        OptionError: If a value is out of range.

    Example:
        >>> BeamConfig(width=0)
        Traceback (most recent call last):
        edge_asr.errors.OptionError: width=0: expected 1 to 1024
    """

    width: int = 16
    beam: float = 12.0
    tokens: int = 12
    token_min: float = 1e-3
    blank_skip: float = 0.98
    blank_penalty: float = 0.0
    acoustic_scale: float = 1.0
    lm_weight: float = 0.6
    word_bonus: float = 1.0
    unknown_penalty: float = 12.0
    lexicon: bool = False
    recombine: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise OptionError(f"{field.name}={value!r}: expected True or False")
                continue
            low, high = RANGES[field.name]
            kinds = int if field.type == "int" else (int, float)
            if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
                raise OptionError(f"{field.name}={value!r}: expected {low:g} to {high:g}")
            if not low <= value <= high:
                raise OptionError(f"{field.name}={value!r}: expected {low:g} to {high:g}")
