"""Encoders by name: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable

from edge_asr.errors import OptionError
from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer

ENCODERS: dict[str, Callable[[ModelConfig], TwoSpeedSplitformer]] = {
    "splitformer-two-speed": TwoSpeedSplitformer,
}


def build_encoder(config: ModelConfig) -> TwoSpeedSplitformer:
    """Builds the encoder that ``config.architecture`` names; OptionError where there is none of that name."""
    if config.architecture not in ENCODERS:
        raise OptionError(
            f"model option architecture is {config.architecture!r}; allowed: {', '.join(sorted(ENCODERS))}"
        )
    return ENCODERS[config.architecture](config)
