"""Endpointing: when a live utterance is over."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edge_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Three rules; an utterance is over when one of them holds. Silence is time without a token.

    The rules are those of Kaldi's online decoding, as other toolkits have them too.

    Args:
        silence_before_text: Seconds of silence while nothing has been recognised.
        silence_after_text: Seconds of silence after something has been recognised.
        longest: Seconds after which an utterance is over in any case.

    Raises:
        OptionError: If a value isn't above 0; infinity turns a rule off.
    """

    silence_before_text: float = 2.4
    silence_after_text: float = 1.2
    longest: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or math.isnan(value) or value <= 0:
                raise OptionError(f"{field.name}={value!r}: expected seconds above 0")

    def reached(self, seconds: float, last_token: float | None) -> bool:
        """Tells whether the utterance is over.

        Args:
            seconds: Audio decoded since the utterance began.
            last_token: When the last token began; None if there is none.

        Example:
            >>> EndpointConfig().reached(3.0, last_token=1.5)
            True
        """
        if last_token is None:
            silent = seconds >= self.silence_before_text
        else:
            silent = seconds - last_token >= self.silence_after_text
        return silent or seconds >= self.longest
