"""Encoders by name: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable

from edge_asr.errors import OptionError
from edge_asr.model.base import Encoder
from edge_asr.model.cache_once import CacheOnceSplitformer
from edge_asr.model.cached import CachedSplitformer
from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer
from edge_asr.model.late_cache import LateCacheSplitformer
from edge_asr.model.offline import OfflineSplitformer

ENCODERS: dict[str, Callable[[ModelConfig], Encoder]] = {
    "splitformer-two-speed": TwoSpeedSplitformer,
    "splitformer-two-speed-late": LateCacheSplitformer,
    "splitformer-cache-once": CacheOnceSplitformer,
    "splitformer-propagate": lambda config: CachedSplitformer(config, "propagate"),
    "splitformer-absent": lambda config: CachedSplitformer(config, "absent"),
    "splitformer-stale": lambda config: CachedSplitformer(config, "stale"),
    "splitformer-offline": OfflineSplitformer,
}


def build_encoder(config: ModelConfig) -> Encoder:
    """Builds the encoder that ``config.architecture`` names; OptionError where there is none of that name."""
    if config.architecture not in ENCODERS:
        known = ", ".join(sorted(ENCODERS))
        raise OptionError(f"model option architecture is {config.architecture!r}; allowed: {known}")
    return ENCODERS[config.architecture](config)
