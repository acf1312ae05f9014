"""The check that ends an export: the runtime on the bundle against torch, on the same audio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge_asr.bundle.bundle import Bundle
from edge_asr.decoding.greedy import GreedyDecoder
from edge_asr.errors import DataError
from edge_asr.exits.disagreement import edit_distance
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.view import ExitView
from edge_asr.model.frontend import HOP, OVERLAP
from edge_asr.model.model import AsrModel
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.onnx_engine import OnnxEngine

Array = npt.NDArray[np.float32]
FLOAT_TOLERANCE = 2e-4  # largest difference of a posterior, float32 graphs against torch
INT8_TOLERANCE = 0.08  # mean total variation of a frame's posteriors, int8 graphs against torch
TOKEN_TOLERANCE = 0.15  # largest `Parity.token_errors` of int8 graphs; en-tiny's is 0.08 over all samples
FEWEST_TOKENS = 20  # a shorter text counts as so many, so that one token of three is no failure


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences of posteriors between a bundle and torch.

    Attributes:
        precision: of the bundle's graphs.
        chunk: frames a chunk; None for full.
        largest: largest absolute difference of a posterior, any exit.
        variation: total variation (half the sum of absolute differences), mean over frames, for the worst
            exit.
        agreement: share of frames whose best token is the same, for the worst exit.
        token_errors: edit distance of the greedy tokens over the number of torch's (20 if they are fewer), for the
            worst exit. Most frames are blank, so lost tokens hardly show in the figures over all frames.
    """

    precision: str
    chunk: int | None
    largest: float
    variation: float
    agreement: float
    token_errors: float


def torch_log_probs(model: AsrModel, pcm: Array, tail: int, chunk: int | None, look_ahead: int) -> Array:
    """The parallel forward on PCM (N,), padded as the runtime pads it: (exits, T, V + P)."""
    frames = -(-len(pcm) // HOP) + tail
    padded = np.zeros(frames * HOP + OVERLAP, dtype=np.float32)
    padded[: len(pcm)] = pcm
    with torch.inference_mode():
        x = model.frontend(torch.from_numpy(padded)[None])
        out = model.encoder(x, torch.tensor([frames]), chunk=chunk, look_ahead=look_ahead)
    result: Array = out[:, 0].numpy()
    return result


def runtime_log_probs(bundle: Bundle, engine: OnnxEngine, pcm: Array, chunk: int | None) -> Array:
    """What the runtime computes chunk by chunk, every exit: (exits, T, V + P), word pieces and then phones."""
    stream = EncoderStream(bundle, engine, FixedPolicy(bundle.spec.encoder.exits), chunk_frames=chunk, all_exits=True)
    chunks = stream.push(pcm) + stream.flush()
    return np.concatenate([np.stack([_said(view) for view in c.views]) for c in chunks], axis=1)


def _said(view: ExitView) -> Array:
    return view.log_probs if view.phones is None else np.concatenate([view.log_probs, view.phones], axis=1)


def compare(precision: str, chunk: int | None, ours: Array, reference: Array, vocabulary: int) -> Parity:
    """Compares two (exits, T, V + P) arrays of log-probabilities; word pieces and phones alike, the worse counts."""
    if ours.shape != reference.shape:
        raise DataError(
            f"parity, {precision}: the runtime gives {ours.shape} log-probabilities, torch {reference.shape}"
        )
    largest = float(np.abs(np.exp(ours) - np.exp(reference)).max())
    variations, agreements, errors = [], [], []
    for part in (slice(vocabulary), slice(vocabulary, None))[: 1 if ours.shape[-1] == vocabulary else 2]:
        a, b = ours[..., part], reference[..., part]
        variations.append((np.abs(np.exp(a) - np.exp(b)).sum(axis=-1) / 2).mean(axis=-1).max())
        agreements.append((a.argmax(axis=-1) == b.argmax(axis=-1)).mean(axis=-1).min())
        errors += [_token_errors(*pair) for pair in zip(a, b, strict=True)]
    return Parity(precision, chunk, largest, float(np.max(variations)), float(np.min(agreements)), max(errors))


def _token_errors(ours: Array, reference: Array) -> float:
    """Edit distance of greedy tokens, relative to the reference's, of two (T, V) with blank 0."""
    said, wanted = ([token.id for token in GreedyDecoder().push(one)] for one in (ours, reference))
    return edit_distance(said, wanted) / max(FEWEST_TOKENS, len(wanted))


def check_parity(model: AsrModel, path: Path, pcm: Array) -> list[Parity]:
    """Checks a written bundle at its default chunk and in full mode.

    Args:
        model: the network the bundle was exported from.
        path: the bundle.
        pcm: (N,) at 16 kHz, at most 15 s; better speech than noise.

    Raises:
        DataError: a precision differs from torch by more than its tolerance.
    """
    bundle = Bundle.load(path)
    results = []
    for precision in bundle.spec.segments:
        engine = OnnxEngine(bundle, precision)
        for chunk in (bundle.spec.chunks.default, None):
            reference = torch_log_probs(
                model, pcm, bundle.spec.encoder.tail_frames, chunk, bundle.spec.encoder.look_ahead
            )
            ours = runtime_log_probs(bundle, engine, pcm, chunk)
            result = compare(precision, chunk, ours, reference, bundle.spec.tokens.size)
            if precision == "float32" and not result.largest <= FLOAT_TOLERANCE:
                raise DataError(
                    f"parity, float32: posteriors differ by {result.largest:.2e}; allowed: {FLOAT_TOLERANCE:.0e}"
                )
            if precision == "int8" and not result.variation <= INT8_TOLERANCE:
                raise DataError(f"parity, int8: mean total variation {result.variation:.3f}; allowed: {INT8_TOLERANCE}")
            if precision == "int8" and not result.token_errors <= TOKEN_TOLERANCE:
                raise DataError(
                    f"parity, int8: {result.token_errors:.1%} of greedy tokens differ; allowed: {TOKEN_TOLERANCE:.0%}"
                )
            results.append(result)
    return results
