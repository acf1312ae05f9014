"""Engine: ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# Its builds report use to their maker, from 1.29 on Linux, macOS and Android too, and read this before they start.
# Speech stays on the device, and so does what is known of it; who sets the variable decides otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.schema import BundleSpec
from edge_asr.errors import BundleError, OptionError
from edge_asr.runtime.engine import Array

# Its exceptions have no base class of their own; ValueError and RuntimeError come from its Python layer.
_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
_FATAL = 4
"""Log level: errors come as exceptions, so nothing needs to be printed."""


class OnnxEngine:
    """Runs a bundle's graphs with ONNX Runtime.

    Threads don't spin while they wait (a spinning thread burns battery), and int8 products are exact on x86
    processors without VNNI too. Source of the keys: ``onnxruntime_session_options_config_keys.h``.

    Args:
        bundle: A checked bundle.
        precision: One of the bundle's precisions; None takes its default.
        threads: Threads inside one operation.

    Raises:
        BundleError: If a graph can't be loaded, or has other inputs or outputs than it should.
        OptionError: If the bundle lacks the precision, or ``threads`` is less than 1.

    Example:
        >>> engine = OnnxEngine(Bundle.load("models/en-tiny"), threads=2)  # doctest: +SKIP
        >>> engine.run("frontend", {"pcm": np.zeros((1, 2000), np.float32)})["frames"].shape  # doctest: +SKIP
        (1, 2, 144)
    """

    def __init__(self, bundle: Bundle, precision: str | None = None, threads: int = 1) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise OptionError(f"threads={threads!r}: expected an integer from 1")
        self._files = bundle.graphs(bundle.precision(precision))
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._outputs: dict[str, list[str]] = {}
        options = _options(threads)
        for graph, file in self._files.items():
            session = _load(file, options)
            _check(session, file, *_contract(graph, bundle.spec))
            self._sessions[graph] = session
            self._outputs[graph] = [output.name for output in session.get_outputs()]

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs a graph once; see `Engine.run`."""
        names = self._outputs[graph]
        try:
            outputs = self._sessions[graph].run(names, dict(inputs))
        except _ERRORS as error:
            raise BundleError(f"graph {graph} failed: {error}", file=self._files[graph]) from error
        return dict(zip(names, outputs, strict=True))


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _load(file: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise BundleError(f"isn't a graph that ONNX Runtime can load: {error}", file=file) from error


def _contract(graph: str, spec: BundleSpec) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """Gives a graph's inputs and outputs with the size of the last axis, None where it is free."""
    dim, states = spec.encoder.dim, spec.encoder.trunk_state
    if graph == "frontend":
        return {"pcm": None}, {"frames": dim}
    outputs: dict[str, int | None] = {"hidden": dim, "log_probs": spec.tokens.size, "stats": 4}
    if spec.phones is not None:
        outputs["phone_log_probs"] = spec.phones.size
    if graph == "segment1":
        state = {name: shape[-1] if shape else None for name, shape in states.items()}
        inputs = {"frames": dim, "n_valid": None, **state}
        return inputs, {
            **outputs,
            "memory": 3 * dim,
            **{f"next_{name}": size for name, size in state.items()},
        }
    return {"frames": dim, "window": 3 * dim, "n_valid": None, "n_left": None, "n_right": None}, outputs


def _check(
    session: onnxruntime.InferenceSession,
    file: Path,
    inputs: dict[str, int | None],
    outputs: dict[str, int | None],
) -> None:
    for kind, expected, found in (
        ("input", inputs, {node.name: node.shape for node in session.get_inputs()}),
        ("output", outputs, {node.name: node.shape for node in session.get_outputs()}),
    ):
        for name, size in expected.items():
            if name not in found:
                raise BundleError(f"the graph lacks this {kind}; it has {', '.join(found)}", file=file, field=name)
            last = found[name][-1] if found[name] else None
            if size is not None and isinstance(last, int) and last != size:
                raise BundleError(f"the {kind}'s last axis is {last}, expected {size}", file=file, field=name)
        if kind == "input":
            for name in found:
                if name not in expected:
                    raise BundleError("the graph has an input that nothing feeds", file=file, field=name)
