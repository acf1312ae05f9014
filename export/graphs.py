"""The bundle's graphs as ONNX, one call each: frontend, trunk and deep segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from edge_asr.model.config import ModelConfig
from edge_asr.model.encoder import TwoSpeedSplitformer
from edge_asr.model.frontend import HOP, OVERLAP
from edge_asr.model.layers import exit_stats
from edge_asr.model.model import AsrModel
from edge_asr.model.segment import DeepSegment
from edge_asr.model.trunk import Trunk

OPSET = 20


class TrunkGraph(nn.Module):
    """The trunk with its state as flat inputs and outputs, and stats beside what its exit says."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.names = list(trunk.state_shapes())

    def forward(self, frames: Tensor, n_valid: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        hidden, memory, said, following = self.trunk(frames, n_valid, dict(zip(self.names, state, strict=True)))
        return (hidden, memory, *_spoken(self.trunk.config, said), *(following[name] for name in self.names))


class SegmentGraph(nn.Module):
    """A deep segment with stats beside what its exit says."""

    def __init__(self, segment: DeepSegment) -> None:
        super().__init__()
        self.segment = segment

    def forward(
        self, frames: Tensor, window: Tensor, n_valid: Tensor, n_left: Tensor, n_right: Tensor
    ) -> tuple[Tensor, ...]:
        hidden, said = self.segment(frames, window, n_valid, n_left, n_right)
        return hidden, *_spoken(self.segment.config, said)


def spoken_outputs(config: ModelConfig) -> list[str]:
    """Names of what an exit says; the last one only where it has phones."""
    return ["log_probs", "stats", *(["phone_log_probs"] if config.phones else [])]


def _spoken(config: ModelConfig, said: Tensor) -> tuple[Tensor, ...]:
    pieces = said[..., : config.vocabulary] if config.phones else said
    phones = (said[..., config.vocabulary :],) if config.phones else ()
    return pieces, exit_stats(pieces), *phones


def save_graph(
    path: Path,
    module: nn.Module,
    args: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    shapes: Any,
) -> None:
    """Writes a module as an ONNX graph, without stale shapes, stack traces or paths.

    Args:
        path: the graph.
        module: put in evaluation mode.
        args: example inputs, each a tensor of its own.
        inputs: their names.
        outputs: names of what it returns.
        shapes: dynamic axes, as ``torch.onnx.export`` takes them; None for fixed shapes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    program = torch.onnx.export(
        module.eval(),
        args,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=shapes,
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    # The exporter leaves shapes of initialisers that it has folded since; quantisation would trip over them.
    initialisers = {t.name for t in model.graph.initializer}
    for info in [v for v in model.graph.value_info if v.name in initialisers]:
        model.graph.value_info.remove(info)
    # It also writes each node's stack trace: a third of a small graph, and the paths of whoever exported it.
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def trunk_inputs(trunk: Trunk) -> list[str]:
    """Input names of the trunk's graph."""
    return ["frames", "n_valid", *trunk.state_shapes()]


DEEP_INPUTS = ["frames", "window", "n_valid", "n_left", "n_right"]


def export_frontend(model: AsrModel, path: Path) -> None:
    """Writes the frontend: ``pcm`` (B, 640 C + 720) → ``frames`` (B, C, d)."""
    pcm = torch.zeros(2, 16 * HOP + OVERLAP)
    save_graph(path, model.frontend, (pcm,), ["pcm"], ["frames"], ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},))


def export_segments(encoder: TwoSpeedSplitformer, folder: Path) -> list[Path]:
    """Writes ``segment1.onnx`` … to a folder; batch, chunk and look-ahead are dynamic."""
    config, trunk = encoder.config, encoder.trunk
    frames = torch.randn(2, 16, config.dim)
    two = torch.tensor([16, 12])
    names = list(trunk.state_shapes())
    state = trunk.zero_state(2)
    paths = [folder / f"segment{i}.onnx" for i in range(1, config.exits + 1)]
    save_graph(
        paths[0],
        TrunkGraph(trunk),
        (frames, two, *(state[name] for name in names)),
        trunk_inputs(trunk),
        ["hidden", "memory", *spoken_outputs(config), *(f"next_{name}" for name in names)],
        ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, tuple({0: Dim.DYNAMIC} for _ in names)),
    )
    window = torch.randn(2, config.history + 16 + 8, 3 * config.dim)
    # Each argument is a tensor of its own: torch.export takes two uses of one tensor for the same input.
    left, right = torch.tensor([5, 3]), torch.tensor([2, 8])
    for segment, path in zip(encoder.segments(), paths[1:], strict=True):
        save_graph(
            path,
            SegmentGraph(segment),
            (frames, window, two, left, right),
            DEEP_INPUTS,
            ["hidden", *spoken_outputs(config)],
            (
                {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
                {0: Dim.DYNAMIC, 1: Dim.DYNAMIC},
                *({0: Dim.DYNAMIC} for _ in range(3)),
            ),
        )
    return paths
