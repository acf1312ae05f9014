"""Branching: a model that starts from the weights of another one, whose encoder may differ from it.

What an encoder calls a part depends on its kind; here parts go by the segment they belong to. A depthwise convolution
of another width, or causal instead of centred, gets the taps that both have, frame for frame. Where the vocabularies
differ in size, the exits' maps to and from it are drawn anew, and so are their heads for phones where those differ in
number. Heads that the target lacks are left behind.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from edge_asr.errors import DataError
from edge_asr.model.config import ModelConfig
from edge_asr.model.model import AsrModel

MEMORY = "memory."
TOKENS = re.compile(r"\.exit\.(output\.(weight|bias)|feedback\.weight)$")  # shaped by the vocabulary
PHONES = re.compile(r"\.exit\.phones\.")
LATE = "splitformer-two-speed-late"


def canonical(name: str, config: ModelConfig) -> str:
    """A parameter's name by segment, the same for all encoders.

    Example:
        >>> canonical("encoder.deep.0.layers.1.norm.weight", ModelConfig())
        'segment.2.layers.1.norm.weight'
        >>> canonical("encoder.trunk.memory_kv.bias", ModelConfig())
        'memory.kv.bias'
    """
    name = re.sub(r"^encoder\.(trunk|second)\.memory_", MEMORY, name)
    name = name.replace("encoder.trunk.", "segment.1.").replace("encoder.second.", "segment.2.")
    first = {"deep": 3 if config.architecture == LATE else 2, "segments": 1}
    return re.sub(r"^encoder\.(deep|segments)\.(\d+)\.", lambda m: f"segment.{first[m[1]] + int(m[2])}.", name)


def segment_of(name: str) -> int:
    """The segment of a canonical name; 0 for the frontend, 2 for the memory, which only deep segments read."""
    if name.startswith(MEMORY):
        return 2
    found = re.match(r"segment\.(\d+)\.", name)
    return int(found[1]) if found else 0


def current_tap(width: int, segment: int, config: ModelConfig) -> int:
    """Which tap of a segment's depthwise convolutions meets the frame that is computed."""
    causal = {"splitformer-offline": 0, "splitformer-cache-once": config.exits, LATE: 2}.get(config.architecture, 1)
    return width - 1 if segment <= causal else width // 2


def aligned(taps: Tensor, old: int, width: int, new: int) -> Tensor:
    """Taps (d, 1, K) around tap ``old`` as ``width`` taps around ``new``; those that the other lacks are zero."""
    out = taps.new_zeros(*taps.shape[:-1], width)
    before, after = min(old, new), min(taps.shape[-1] - old, width - new)
    out[..., new - before : new + after] = taps[..., old - before : old + after]
    return out


def branch(source: AsrModel, target: AsrModel, *, fresh: int = 0) -> list[str]:
    """Gives ``target`` all weights of ``source`` that have a place in it, in place.

    Args:
        source: trained.
        target: newly made; what finds nothing keeps what it was drawn as.
        fresh: from this segment on nothing is taken (2: all deep segments and the memory); 0: everything is.

    Returns:
        The canonical names that found nothing, or nothing of their vocabulary or phones, ``fresh`` ones not among them.

    Raises:
        DataError: a part is in both, in different sizes.

    Example:
        >>> source, target = AsrModel(ModelConfig()), AsrModel(ModelConfig(kernel=15, branches=()))
        >>> branch(source, target)
        []
    """
    weights = {canonical(name, source.config): p for name, p in source.state_dict().items()}
    state, missing = target.state_dict(), []
    other = [TOKENS] if source.config.vocabulary != target.config.vocabulary else []
    other += [PHONES] if source.config.phones != target.config.phones else []
    for name in state:
        known = canonical(name, target.config)
        segment, value = segment_of(known), weights.get(known)
        if fresh and segment >= fresh:
            continue
        if value is None or any(pattern.search(known) for pattern in other):
            missing.append(known)
            continue
        if known.endswith("depthwise.weight"):
            old = current_tap(value.shape[-1], segment, source.config)
            width = state[name].shape[-1]
            value = aligned(value, old, width, current_tap(width, segment, target.config))
        if known.startswith("memory.kv") and source.config.memories == 1:  # each layer's begins as the common one
            value = torch.cat([part for part in value.chunk(2) for _ in range(target.config.memories)])
        if value.shape != state[name].shape:
            sizes = f"{tuple(value.shape)} in the weights, {tuple(state[name].shape)} in the model"
            raise DataError(f"{known} is {sizes}: weights can start a model of the same width only")
        state[name] = value
    target.load_state_dict(state)
    return missing
