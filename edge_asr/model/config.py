"""Typed, validated configuration of the network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from edge_asr.errors import OptionError

SIDE = 8  # frames of overlap that bundles ship with, and training scores with, unless something else is asked for


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise OptionError(f"model option {name} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the network; widths in channels, times in frames of 40 ms.

    Attributes:
        architecture: name in the registry of encoders (``edge_asr.model.registry``).
        vocabulary: number of tokens, blank (id 0) included.
        phones: number of phone tokens of every exit, blank (id 0) included; 0: none. Their log-probabilities follow the
            word pieces'.
        dim: model width d.
        heads: attention heads.
        exits: number of segments, each ending in an exit.
        layers: Conformer layers in each segment, parallel branches not counted.
        expansion: inner width of a feed-forward module as a multiple of d.
        trunk_kernel: taps of the trunk's causal depthwise convolutions.
        kernel: taps of the deeper segments' centred depthwise convolutions (odd).
        history: frames before a chunk that attention may see (even).
        overlap: frames on either side of a chunk that deeper segments compute along with it (even), on the right as far
            as the look-ahead goes; the results are used for nothing else. Weights don't depend on it.
        branches: segments that carry a parallel layer on a 2x-downsampled copy of their input.
        slow: deeper segments whose layers run on 80 ms frames (means of pairs); their stream and exits stay at 40 ms.
        own_memory: whether each deeper layer has keys and values of the trunk's output of its own; else all share one
            projection.
        shared_output: whether all exits use one output layer for word pieces (each keeps its own LayerNorm).
        mels: mel bins of the frontend.
        channels: channels of the frontend's two strided convolutions.
        dropout: probability, in training only.
        feedback: whether an exit's posteriors are projected back into the stream (self-conditioned CTC).
    """

    architecture: str = "splitformer-two-speed"
    vocabulary: int = 128
    phones: int = 0
    dim: int = 144
    heads: int = 4
    exits: int = 6
    layers: int = 2
    expansion: int = 4
    trunk_kernel: int = 15
    kernel: int = 9
    history: int = 64
    overlap: int = 0
    branches: tuple[int, ...] = (1, 6)
    slow: tuple[int, ...] = ()
    own_memory: bool = False
    shared_output: bool = False
    mels: int = 80
    channels: tuple[int, int] = (16, 32)
    dropout: float = 0.0
    feedback: bool = True

    def __post_init__(self) -> None:
        _require(2 <= self.vocabulary <= 4096, "vocabulary", self.vocabulary, "2 to 4096")
        _require(self.phones == 0 or 2 <= self.phones <= 256, "phones", self.phones, "0, or 2 to 256")
        _require(
            self.heads >= 1 and self.dim >= 1 and self.dim % (2 * self.heads) == 0,
            "dim",
            self.dim,
            "a multiple of 2 · heads",
        )
        _require(2 <= self.exits <= 32, "exits", self.exits, "2 to 32")
        _require(self.layers >= 1, "layers", self.layers, "at least 1")
        _require(self.expansion >= 1, "expansion", self.expansion, "at least 1")
        _require(self.trunk_kernel >= 2, "trunk_kernel", self.trunk_kernel, "at least 2")
        _require(self.kernel >= 3 and self.kernel % 2 == 1, "kernel", self.kernel, "an odd number from 3")
        _require(self.history >= 2 and self.history % 2 == 0, "history", self.history, "an even number from 2")
        _require(self.overlap >= 0 and self.overlap % 2 == 0, "overlap", self.overlap, "an even number from 0")
        _require(
            self.architecture.startswith("splitformer-two-speed") or not self.overlap,
            "overlap",
            self.overlap,
            "0, for this architecture",
        )
        _require(
            2 * (self.kernel // 2) <= self.history,
            "history",
            self.history,
            "at least kernel - 1 (the convolution's halo)",
        )
        _require(
            all(1 <= b <= self.exits for b in self.branches),
            "branches",
            self.branches,
            f"segments 1 to {self.exits}",
        )
        _require(
            all(2 <= s <= self.exits and s not in self.branches for s in self.slow),
            "slow",
            self.slow,
            f"segments 2 to {self.exits} without a branch",
        )
        _require(
            self.architecture.startswith("splitformer-two-speed") or not self.slow,
            "slow",
            self.slow,
            "none, for this architecture",
        )
        _require(
            self.architecture == "splitformer-two-speed" or not self.own_memory,
            "own_memory",
            self.own_memory,
            "false, for this architecture",
        )
        _require(
            self.architecture == "splitformer-two-speed" or not self.shared_output,
            "shared_output",
            self.shared_output,
            "false, for this architecture",
        )
        _require(0.0 <= self.dropout < 1.0, "dropout", self.dropout, "0 to below 1")

    @property
    def outputs(self) -> int:
        """Columns of an exit's log-probabilities: word pieces, then phones."""
        return self.vocabulary + self.phones

    @property
    def memories(self) -> int:
        """How many pairs of keys and values the trunk writes for each frame."""
        deep = sum(branch > 1 for branch in self.branches) + self.layers * (self.exits - 1)
        return deep if self.own_memory else 1

    @property
    def memory_width(self) -> int:
        """Channels of the memory: the trunk's stream, all keys, all values."""
        return self.dim * (1 + 2 * self.memories)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Builds a configuration from parsed YAML or JSON; an unknown name raises OptionError."""
        known = {f.name for f in fields(cls)}
        for name in values:
            _require(name in known, name, values[name], "one of " + ", ".join(sorted(known)))
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**arguments)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
