"""What per-chunk exits do to an encoder: policies that choose patterns of exits, and errors under them.

The parallel forward of an encoder under a pattern of exits equals its chunk-by-chunk forward (tested), so everything
here runs on whole batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import jiwer
import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from edge_asr.model.layers import exit_stats, pick
from edge_asr.model.model import AsrModel
from edge_asr.training.batch import Batch
from edge_asr.training.tokenizer import Tokenizer

SEAM_FRAMES = 5  # 200 ms


@dataclass(frozen=True, slots=True)
class Case:
    """How audio is cut: frames a chunk (None: whole utterances, for offline encoders) and frames of look-ahead."""

    chunk: int | None = 16
    look_ahead: int = 8

    def frames(self, longest: int) -> int:
        """Frames a chunk, in a batch whose longest utterance has so many."""
        return longest if self.chunk is None else self.chunk


def depth_costs(model: AsrModel, case: Case, seconds: float = 16.0) -> list[float]:
    """Multiply–accumulates per second of audio at each fixed depth, encoder only, counted by torch on the forward."""
    frames = torch.zeros(1, round(25 * seconds), model.config.dim)
    lengths = torch.tensor([frames.shape[1]])
    costs = []
    for depth in range(1, model.config.exits + 1):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.encoder(frames, lengths, chunk=case.chunk, look_ahead=case.look_ahead, depth=depth)
        costs.append(counter.get_total_flops() / 2 / seconds)
    return costs


def random_exits(lengths: Tensor, chunks: int, exits: int, mean: float, rng: np.random.Generator) -> Tensor:
    """Exits (B, N) drawn independently for each chunk: one and a binomial number more, ``mean`` on average."""
    drawn = 1 + rng.binomial(exits - 1, (mean - 1) / (exits - 1), size=(len(lengths), chunks))
    return torch.from_numpy(drawn.astype(np.int64))


# (E, B, C, V) of a chunk, word pieces only, and (B, C) bool of real frames → (E, B) bool
Sure = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def decided_exits(
    model: AsrModel, frames: Tensor, lengths: Tensor, case: Case, sure: Sure, full: Tensor | None = None
) -> Tensor:
    """Exits (B, N) of a policy that stops at the first exit that is sure, or at the last.

    Decisions are taken in order, each on what the chunk sees after the decisions before it. ``full``: see `add_batch`.
    """
    size, depth, pieces = case.frames(frames.shape[1]), model.config.exits, model.config.vocabulary
    chunks = -(-frames.shape[1] // size)
    exits = torch.full((len(lengths), chunks), depth)
    every = (
        model.encoder.every_exit(frames, lengths, None, case.chunk, case.look_ahead, depth) if full is None else full
    )
    for n in range(chunks):
        start, stop = n * size, min((n + 1) * size, frames.shape[1])
        if n and not model.encoder.pure:  # what came after the look-ahead changes nothing
            heard = min(stop + case.look_ahead, frames.shape[1])
            known = exits[:, : -(-heard // size)]
            every = model.encoder.every_exit(
                frames[:, :heard], lengths.clamp(max=heard), known, case.chunk, case.look_ahead, depth
            )
        stops = sure(every[:, :, start:stop, :pieces], torch.arange(start, stop)[None] < lengths[:, None])
        stops[-1] = True
        exits[:, n] = stops.int().argmax(dim=0) + 1
    return exits


def within_entropy(threshold: float) -> Sure:
    """Sure where the mean frame entropy (nats) is at or below a threshold."""

    def sure(log_probs: Tensor, real: Tensor) -> Tensor:
        entropy = exit_stats(log_probs.flatten(0, 1))[..., 0].reshape(log_probs.shape[:3])
        return (entropy * real).sum(dim=-1) / real.sum(dim=-1).clamp(min=1) <= threshold

    return sure


def agrees_with_the_last(log_probs: Tensor, real: Tensor) -> Tensor:
    """An oracle: sure where the best path through the chunk reads as the last exit's does."""
    best = (log_probs.argmax(dim=-1) * real).tolist()
    texts = [[[t for t, _ in groupby(path) if t] for path in batch] for batch in best]
    return torch.tensor([[text == last for text, last in zip(batch, texts[-1], strict=True)] for batch in texts])


@dataclass(slots=True)
class Score:
    """Sums over utterances under one policy; ``seam`` counts are of chunk borders between different exits.

    Attributes:
        references: transcripts.
        spliced: texts with the encoder's own caches.
        exact: texts with every cache exact, same exits.
        exit_frames: frames that left at each exit.
        owed_frames: frames whose keys and values each segment computed later, for a deeper chunk; counted for encoders
            that propagate.
        seams: borders between chunks of different exits.
        seam_errors: inserted and deleted tokens within 200 ms of one.
    """

    references: list[str]
    spliced: list[str]
    exact: list[str]
    exit_frames: Tensor
    owed_frames: Tensor
    seams: int = 0
    seam_errors: int = 0

    def wer(self) -> float:
        """WER with the encoder's own caches."""
        return float(jiwer.wer(self.references, self.spliced))

    def exact_wer(self) -> float:
        """WER of the same exits with every cache exact."""
        return float(jiwer.wer(self.references, self.exact))

    def mean_cost(self, costs: list[float], owed: list[float]) -> float:
        """Mean cost, given each depth's and that of catching up in each segment."""
        spent = self.exit_frames * torch.tensor(costs) + self.owed_frames * torch.tensor(owed)
        return float(spent.sum() / self.exit_frames.sum())


def empty_score(exits: int) -> Score:
    """Nothing counted yet."""
    return Score([], [], [], *torch.zeros(2, exits, dtype=torch.float64))


def owed_chunks(exits: Tensor, depth: int, reach: int) -> Tensor:
    """How many chunks of an utterance each segment catches up with.

    Args:
        exits: (N) int64, where each chunk left.
        depth: number of segments.
        reach: chunks before a chunk that its caches hold.

    Returns:
        (depth) float64: chunks that had left before the segment, and that one at most ``reach`` later ran in it.

    Example:
        >>> owed_chunks(torch.tensor([1, 3, 1, 1]), 3, 4)
        tensor([0., 1., 1.], dtype=torch.float64)
    """
    owed = torch.zeros(depth, dtype=torch.float64)
    for number in range(2, depth + 1):
        runs = (exits >= number).tolist()
        owed[number - 1] = sum(not run and any(runs[n + 1 : n + 1 + reach]) for n, run in enumerate(runs))
    return owed


@torch.inference_mode()
def add_batch(
    score: Score,
    model: AsrModel,
    tokenizer: Tokenizer,
    batch: Batch,
    frames: Tensor,
    exits: Tensor,
    case: Case,
    full: Tensor | None = None,
) -> None:
    """Scores one batch under a pattern of exits.

    Args:
        score: sums, added to in place.
        model: the encoder and its frontend.
        tokenizer: the model's.
        batch: utterances.
        frames: (B, T, d), the frontend's output.
        exits: (B, N) int64, where each chunk leaves.
        case: how audio is cut.
        full: every exit with all chunks at full depth, (E, B, T, V + P), where it is known; computed otherwise. It
            is all that is needed where nothing goes stale: for pure encoders, and where all chunks leave at one exit.
    """
    depth, size, pieces = model.config.exits, case.frames(frames.shape[1]), model.config.vocabulary
    if full is None:
        full = model.encoder.every_exit(frames, batch.lengths, None, case.chunk, case.look_ahead, depth)
    exact = own = pick(full, exits, size)
    if not model.encoder.pure and exits.min() < exits.max():
        every = model.encoder.every_exit(frames, batch.lengths, exits, case.chunk, case.look_ahead, depth)
        own = pick(every, exits, size)
    score.references += batch.texts
    targets = torch.split(batch.targets, batch.target_lengths.tolist())
    for i, length in enumerate(batch.lengths.tolist()):
        tokens, places = greedy(own[i, :length, :pieces])
        score.spliced.append(tokenizer.decode(tokens))
        score.exact.append(tokenizer.decode(greedy(exact[i, :length, :pieces])[0]))
        taken = exits[i, : -(-length // size)]
        frames_each = torch.full((len(taken),), size, dtype=torch.float64)
        frames_each[-1] = length - size * (len(taken) - 1)
        score.exit_frames.index_add_(0, taken - 1, frames_each)
        if model.config.architecture == "splitformer-propagate":
            score.owed_frames += size * owed_chunks(taken, depth, model.config.history // size)
        seams = [size * (n + 1) for n in range(len(taken) - 1) if taken[n] != taken[n + 1]]
        score.seams += len(seams)
        score.seam_errors += errors_near(seams, targets[i].tolist(), tokens, places)


def greedy(log_probs: Tensor) -> tuple[list[int], list[int]]:
    """Best path of (T, V), word pieces only: tokens, and the frame at which each begins."""
    best = log_probs.argmax(dim=-1).tolist()
    kept = [(t, f) for f, t in enumerate(best) if t != 0 and (f == 0 or best[f - 1] != t)]
    return [t for t, _ in kept], [f for _, f in kept]


def errors_near(seams: list[int], reference: list[int], tokens: list[int], places: list[int]) -> int:
    """Insertions and deletions of tokens within 200 ms of a seam.

    A deletion stands where the token before it in the hypothesis ends up; substitutions are not counted.
    """
    count = 0
    for operation in Levenshtein.editops(reference, tokens):
        if operation.tag == "replace" or not tokens:
            continue
        at = operation.dest_pos if operation.tag == "insert" else operation.dest_pos - 1
        place = places[min(max(at, 0), len(places) - 1)]
        count += any(abs(place - seam) <= SEAM_FRAMES for seam in seams)
    return count
