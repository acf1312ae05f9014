"""A tiny bundle with graphs that keep the contract of ``docs/architecture.md``, for tests of the device side.

The numbers mean nothing, but every input matters: a frame depends on exactly its samples, the trunk on its
state, a deep segment on each real row of its window, on the row's place, and on all three counts. Padding
rows come out as NaN, and rows of a window that should be zero and aren't change the result. So a wrong slice
is noticed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_asr.training.phones import TABLE

PIECES = ("<blank>", "▁A", "B", "▁C", "D'", "E")
PHONES = TABLE
PAST = 3  # frames that the trunk's state keeps


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a fake bundle; frames where nothing else is said."""

    sample_rate: int = 16_000
    hop: int = 640
    overlap: int = 720
    dim: int = 8
    exits: int = 3
    history: int = 6
    look_ahead: int = 4
    encoder_overlap: int = 0
    step_frames: int = 4
    tail_frames: int = 3
    allowed: tuple[int, ...] = (8, 16, 32)
    default: int = 16
    full_max_frames: int = 120
    phones: bool = False


class Graph:
    """Collects nodes; methods give the names of outputs."""

    def __init__(self, inputs: dict[str, tuple[int, list[Any]]]) -> None:
        self.inputs, self.count = inputs, 0
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Adds a node and gives its first output, the only one that is used."""
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def size(self, tensor: str, axis: int) -> str:
        shape = self.op("Shape", tensor)
        return self.op("Gather", shape, self.constant(axis, np.int64))

    def range(self, stop: str) -> str:
        return self.op("Range", self.constant(0, np.int64), stop, self.constant(1, np.int64))

    def slice(self, tensor: str, start: int, stop: int, axis: int) -> str:
        bounds = [self.constant([value], np.int64) for value in (start, stop, axis)]
        return self.op("Slice", tensor, *bounds)

    def floats(self, tensor: str) -> str:
        return self.op("Cast", tensor, to=TensorProto.FLOAT)

    def column(self, counts: str) -> str:
        """(B) int64 to (B, 1, 1) float."""
        return self.op("Unsqueeze", self.floats(counts), self.constant([1, 2], np.int64))

    def save(self, path: Path, outputs: dict[str, tuple[str, list[Any], int]]) -> None:
        for name, (value, _, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in self.inputs.items()],
            [helper.make_tensor_value_info(name, kind, shape) for name, (_, shape, kind) in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())


def _frontend(path: Path, sizes: Sizes, rng: np.random.Generator) -> None:
    graph = Graph({"pcm": (TensorProto.FLOAT, ["B", "N"])})
    kernel = sizes.hop + sizes.overlap
    weight = rng.standard_normal((sizes.dim, 1, kernel)) * 8 / np.sqrt(kernel)
    channel = graph.op("Unsqueeze", "pcm", graph.constant([1], np.int64))
    frames = graph.op("Conv", channel, graph.constant(weight), strides=[sizes.hop])
    frames = graph.op("Tanh", graph.op("Transpose", frames, perm=[0, 2, 1]))
    graph.save(path, {"frames": (frames, ["B", "C", sizes.dim], TensorProto.FLOAT)})


def _head(graph: Graph, hidden: str, valid: str, sizes: Sizes, rng: np.random.Generator, nan: bool) -> dict[str, Any]:
    """Gives the outputs of a segment; rows that aren't valid (B, C, 1) become NaN."""
    dim = sizes.dim
    weight = rng.standard_normal((dim, len(PIECES))) * 2.0
    logits = graph.op("MatMul", hidden, graph.constant(weight))
    logits = graph.op("Add", logits, graph.constant([np.nan if nan else 1.0] + [0.0] * (len(PIECES) - 1)))
    log_probs = graph.op("LogSoftmax", logits, axis=-1)
    probs = graph.op("Exp", log_probs)
    last = graph.constant([-1], np.int64)
    entropy = graph.op("Neg", graph.op("ReduceSum", graph.op("Mul", probs, log_probs), last, keepdims=1))
    top = graph.op("TopK", probs, graph.constant([2], np.int64), outputs=2, axis=-1)
    best, second = graph.slice(top, 0, 1, 2), graph.slice(top, 1, 2, 2)
    stats = graph.op("Concat", entropy, best, graph.op("Sub", best, second), graph.slice(probs, 0, 1, 2), axis=-1)
    garbage = graph.constant(np.nan)
    result = {}
    values = [("hidden", hidden, dim), ("log_probs", log_probs, len(PIECES)), ("stats", stats, 4)]
    if sizes.phones:
        heard = graph.op("MatMul", hidden, graph.constant(rng.standard_normal((dim, len(PHONES))) * 3.0))
        values.append(("phone_log_probs", graph.op("LogSoftmax", heard, axis=-1), len(PHONES)))
    for name, value, width in values:
        result[name] = (graph.op("Where", valid, value, garbage), ["B", "C", width], TensorProto.FLOAT)
    return result


def _valid(graph: Graph, tensor: str) -> str:
    """Gives (B, C, 1) booleans: row < n_valid."""
    rows = graph.op("Unsqueeze", graph.floats(graph.range(graph.size(tensor, 1))), graph.constant([0, 2], np.int64))
    return graph.op("Less", rows, graph.column("n_valid"))


def _trunk(path: Path, sizes: Sizes, rng: np.random.Generator, nan: bool) -> None:
    dim = sizes.dim
    graph = Graph(
        {
            "frames": (TensorProto.FLOAT, ["B", "C", dim]),
            "n_valid": (TensorProto.INT64, ["B"]),
            "kv": (TensorProto.FLOAT, ["B", 2, PAST, dim]),
            "n_past": (TensorProto.INT64, ["B"]),
        }
    )
    past = graph.op("Squeeze", graph.slice("kv", 0, 1, 1), graph.constant([1], np.int64))
    double = graph.op("Squeeze", graph.slice("kv", 1, 2, 1), graph.constant([1], np.int64))
    past = graph.op("Sub", double, past)  # double holds twice the frames: both halves of the state matter
    line = graph.op("Concat", past, "frames", axis=1)
    hidden = graph.op("MatMul", "frames", graph.constant(rng.standard_normal((dim, dim)) / np.sqrt(dim)))
    for back, weight in ((0, 0.9), (1, -0.6), (2, 0.4)):
        shifted = graph.slice(line, back, back - PAST, 1)
        hidden = graph.op("Add", hidden, graph.op("Mul", shifted, graph.constant(weight)))
    rows = graph.op("Unsqueeze", graph.floats(graph.range(graph.size("frames", 1))), graph.constant([0, 2], np.int64))
    place = graph.op("Sin", graph.op("Add", rows, graph.column("n_past")))
    hidden = graph.op("Tanh", graph.op("Add", hidden, graph.op("Mul", place, graph.constant(0.3))))
    valid = _valid(graph, "frames")
    outputs = _head(graph, hidden, valid, sizes, rng, nan)
    memory = graph.op("Concat", hidden, graph.op("Mul", hidden, graph.constant(0.5)), "frames", axis=-1)
    memory = graph.op("Where", valid, memory, graph.constant(np.nan))
    outputs["memory"] = (memory, ["B", "C", 3 * dim], TensorProto.FLOAT)
    kept = graph.slice(line, -PAST, 2**31, 1)
    one = graph.op("Unsqueeze", kept, graph.constant([1], np.int64))
    state = graph.op("Concat", one, graph.op("Mul", one, graph.constant(2.0)), axis=1)
    outputs["next_kv"] = (state, ["B", 2, PAST, dim], TensorProto.FLOAT)
    outputs["next_n_past"] = (graph.op("Add", "n_past", "n_valid"), ["B"], TensorProto.INT64)
    graph.save(path, outputs)


def _deep(path: Path, sizes: Sizes, rng: np.random.Generator, nan: bool) -> None:
    dim, left = sizes.dim, sizes.history
    graph = Graph(
        {
            "frames": (TensorProto.FLOAT, ["B", "C", dim]),
            "window": (TensorProto.FLOAT, ["B", "T", 3 * dim]),
            "n_valid": (TensorProto.INT64, ["B"]),
            "n_left": (TensorProto.INT64, ["B"]),
            "n_right": (TensorProto.INT64, ["B"]),
        }
    )
    chunk = graph.floats(graph.size("frames", 1))
    row = graph.op("Unsqueeze", graph.floats(graph.range(graph.size("window", 1))), graph.constant([0, 1], np.int64))
    centre = graph.op("Sub", row, graph.constant(float(left)))  # place relative to the chunk's begin, (1, 1, T)
    zero = graph.constant(0.0)
    after = graph.op("Sub", centre, chunk)
    in_left = graph.op(
        "And",
        graph.op("Less", centre, zero),
        graph.op("GreaterOrEqual", centre, graph.op("Neg", graph.column("n_left"))),
    )
    in_chunk = graph.op(
        "And", graph.op("GreaterOrEqual", centre, zero), graph.op("Less", centre, graph.column("n_valid"))
    )
    in_right = graph.op(
        "And", graph.op("GreaterOrEqual", after, zero), graph.op("Less", after, graph.column("n_right"))
    )
    mask = graph.floats(graph.op("Or", graph.op("Or", in_left, in_chunk), in_right))  # (B, 1, T)
    place = graph.op("Unsqueeze", graph.floats(graph.range(graph.size("frames", 1))), graph.constant([0, 2], np.int64))
    distance = graph.op("Sub", centre, place)  # (1, C, T)
    fade = graph.op("Exp", graph.op("Mul", graph.op("Abs", distance), graph.constant(-0.15)))
    weights = graph.op("Mul", graph.op("Cos", graph.op("Mul", distance, graph.constant(0.7))), fade)
    weights = graph.op("Mul", weights, mask)
    values = graph.op("MatMul", "window", graph.constant(rng.standard_normal((3 * dim, dim)) * 0.4))
    outside = graph.op("MatMul", weights, values)
    stray = graph.op(
        "Mul",
        graph.op("Abs", "window"),
        graph.op("Sub", graph.constant(1.0), graph.op("Transpose", mask, perm=[0, 2, 1])),
    )
    stray = graph.op("ReduceSum", stray, graph.constant([1, 2], np.int64), keepdims=1)
    counts = graph.op(
        "Add",
        graph.op("Mul", graph.column("n_left"), graph.constant(0.37)),
        graph.op("Mul", graph.column("n_right"), graph.constant(0.23)),
    )
    counts = graph.op("Add", counts, graph.op("Mul", graph.column("n_valid"), graph.constant(0.11)))
    valid = _valid(graph, "frames")
    own = graph.op("Where", valid, "frames", zero)
    total = graph.op("Add", graph.op("Mul", own, graph.constant(0.7)), outside)
    total = graph.op("Add", total, graph.op("Add", graph.op("Sin", counts), stray))
    outputs = _head(graph, graph.op("Tanh", total), valid, sizes, rng, nan)
    graph.save(path, outputs)


def write_fake_bundle(
    path: Path,
    sizes: Sizes | None = None,
    *,
    name: str = "fake",
    policy: bool = True,
    nan_in: str | None = None,
    seed: int = 0,
) -> Path:
    """Writes a valid bundle with precisions ``int8`` and ``float32`` (other weights, so a mix-up is noticed).

    Args:
        path: The directory to write.
        sizes: Its sizes; None for the usual ones.
        name: The model's name.
        policy: Write ``policy.json`` too, for ``int8``.
        nan_in: A graph whose log-probabilities are to be NaN, like ``"segment2"``.
        seed: Of the weights.

    Returns:
        The directory.
    """
    sizes = Sizes() if sizes is None else sizes
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files = ["frontend.onnx", "tokens.txt"]
    _frontend(path / "frontend.onnx", sizes, rng)
    (path / "tokens.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    if sizes.phones:
        (path / "phones.txt").write_text("\n".join(PHONES) + "\n", encoding="utf-8")
        files.append("phones.txt")
    segments: dict[str, list[str]] = {}
    for precision in ("int8", "float32"):
        segments[precision] = []
        for number in range(1, sizes.exits + 1):
            file = f"{precision}/segment{number}.onnx"
            build = _trunk if number == 1 else _deep
            build(path / file, sizes, rng, nan_in == f"segment{number}")
            segments[precision].append(file)
        files += segments[precision]
    ms = [str(frames * sizes.hop * 1000 // sizes.sample_rate) for frames in sizes.allowed]
    data = {
        "format": "edge-asr-bundle",
        "version": 1,
        "name": name,
        "language": "en",
        "producer": "edge-asr tests",
        "created": "2026-01-01T00:00:00Z",
        "sample_rate": sizes.sample_rate,
        "frontend": {"file": "frontend.onnx", "hop": sizes.hop, "overlap": sizes.overlap},
        "encoder": {
            "architecture": "fake",
            "dim": sizes.dim,
            "exits": sizes.exits,
            "history": sizes.history,
            "look_ahead": sizes.look_ahead,
            "step_frames": sizes.step_frames,
            "tail_frames": sizes.tail_frames,
            "overlap": sizes.encoder_overlap,
            "trunk_state": {"kv": [2, PAST, sizes.dim], "n_past": []},
        },
        "chunks": {
            "default": sizes.default,
            "allowed": list(sizes.allowed),
            "full_max_frames": sizes.full_max_frames,
        },
        "tokens": {"file": "tokens.txt", "size": len(PIECES), "blank": 0},
        **({"phones": {"file": "phones.txt", "size": len(PHONES), "blank": 0}} if sizes.phones else {}),
        "segments": segments,
        "default_precision": "int8",
        "exits": [
            {
                "exit": number,
                "params": 100 * number,
                "macs_per_second": dict.fromkeys([*ms, "full"], 1000 * number),
            }
            for number in range(1, sizes.exits + 1)
        ],
        "files": {},
        "metrics": {},
    }
    write_json(path, data, files)
    if policy:
        write_policy(path, [*ms, "full"])
    return path


def write_json(path: Path, data: dict[str, Any], files: list[str] | None = None) -> None:
    """Writes ``bundle.json``, with sizes and checksums of ``files`` as they are now if these are given."""
    for file in files or []:
        content = (path / file).read_bytes()
        data["files"][file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path / "bundle.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def write_policy(
    path: Path,
    chunks: list[str],
    *,
    precision: str = "int8",
    criterion: str = "frame_entropy",
    threshold: float = 0.9,
) -> None:
    """Writes a ``policy.json`` that fits the bundle, with one threshold for all exits and chunks."""
    data = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    lines = [f"{data['files'][file]['sha256']}  {file}\n" for file in ["frontend.onnx", *data["segments"][precision]]]
    policy = {
        "format": "edge-asr-policy",
        "version": 1,
        "precision": precision,
        "graphs": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "criterion": criterion,
        "thresholds": {chunk: [threshold] * (data["encoder"]["exits"] - 1) for chunk in chunks},
        "calibration": {"data": "none", "utterances": 1, "max_relative_wer_loss": 0.02},
    }
    (path / "policy.json").write_text(json.dumps(policy, indent=1), encoding="utf-8")
