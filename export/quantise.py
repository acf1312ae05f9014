"""Dynamic int8 quantisation of a graph's constant matrices."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic


def quantise(source: Path, target: Path) -> None:
    """Writes ``target``: each MatMul with a constant matrix in int8, weights per output channel, activations per call.

    Products of two activations (attention scores), convolutions and everything else stay in float32.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser recommends a preprocessing that dynamic shapes don't need
    try:
        quantize_dynamic(
            str(source),
            str(target),
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)


def precisions(path: Path) -> dict[str, int]:
    """How many matrix products of a graph are int8 and how many float32 with a constant matrix."""
    model = onnx.load(str(path))
    constants = {t.name for t in model.graph.initializer}
    counts = {"int8": 0, "float32": 0}
    for node in model.graph.node:
        if node.op_type in ("MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul"):
            counts["int8"] += 1
        elif node.op_type == "Gemm" or (node.op_type == "MatMul" and node.input[1] in constants):
            counts["float32"] += 1
    return counts
