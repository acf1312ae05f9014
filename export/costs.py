"""Multiply–accumulates of exported graphs, counted on the graphs themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiply–accumulates of one call of a graph.

    Attributes:
        total: of all matrix products and convolutions.
        constant: of those with a constant matrix (what int8 quantisation takes).
    """

    total: int
    constant: int


def count_macs(path: Path, sizes: dict[str, tuple[int, ...]]) -> Cost:
    """Counts a float32 graph's work for given input shapes.

    Args:
        path: the graph.
        sizes: input name → shape, for every input.

    Returns:
        The work of MatMul, Gemm and Conv nodes; elementwise work isn't counted.

    Raises:
        KeyError: an input of the graph has no shape in ``sizes``.
    """
    model = onnx.load(str(path))
    nodes = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    constants = set(shapes)
    shapes |= _run_shapes(
        model, {name for node in nodes for name in (*node.input[:2], node.output[0])} - constants, sizes
    )
    total = constant = 0
    for node in nodes:
        if node.op_type == "MatMul":
            macs = math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        elif node.op_type == "Gemm":
            macs = math.prod(shapes[node.output[0]]) * shapes[node.input[1]][0 if not _flag(node, "transB") else 1]
        else:
            macs = math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        total += macs
        if node.op_type != "Conv" and node.input[1] in constants:
            constant += macs
    return Cost(total, constant)


def _run_shapes(
    model: onnx.ModelProto, names: set[str], sizes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Shapes of inner tensors, found by running the graph on zeros (shape inference stops at some slices)."""
    outputs = {value.name for value in model.graph.output} | {value.name for value in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - outputs))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        value.name: np.zeros(sizes[value.name], dtype=np.int64 if value.type == "tensor(int64)" else np.float32)
        for value in session.get_inputs()
    }
    wanted = [value.name for value in session.get_outputs()]
    shapes = {name: value.shape for name, value in zip(wanted, session.run(wanted, feeds), strict=True)}
    return shapes | {name: array.shape for name, array in feeds.items()}


def _flag(node: onnx.NodeProto, name: str) -> bool:
    return any(a.name == name and a.i for a in node.attribute)
