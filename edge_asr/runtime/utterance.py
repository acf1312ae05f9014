"""The encoder on one utterance: frontend and trunk step by step, deeper segments chunk by chunk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_asr.audio.pcm import Mono
from edge_asr.bundle.schema import BundleSpec
from edge_asr.errors import AudioError, BundleError, NumericError
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo, ExitStats
from edge_asr.exits.view import ExitView
from edge_asr.runtime.decided_chunk import DecidedChunk, LogProbs
from edge_asr.runtime.engine import Array, Engine
from edge_asr.runtime.frame_buffer import FrameBuffer
from edge_asr.runtime.piece_record import KINDS, PieceRecord

Clock = Callable[[], float]
PHONES = "phone_log_probs"
"""The output of bundles whose exits give phones too."""


@dataclass(slots=True)
class ChunkPass:
    """A chunk on its way through the segments: what the next one needs, and what the exits so far say.

    ``hidden`` (1, T, d) has ``before`` frames of overlap, then the chunk's, then overlap again.
    """

    info: ChunkInfo
    n_audio: int
    inputs: dict[str, Array]
    hidden: Array
    views: list[ExitView]
    before: int = 0
    deciding: float = 0.0


class UtteranceEncoder:
    """Runs one utterance; see ``docs/architecture.md``, "Running an utterance".

    Whatever the sizes of the pieces pushed, the graphs are called on the same steps and chunks, so the
    results are the same. All buffers have fixed sizes. ``full`` mode is the same machine with one step and
    one chunk, as long as the longest piece, no look-ahead and no history.

    Args:
        spec: The bundle's description: all sizes come from it.
        engine: Runs the graphs.
        policy: Is asked after each exit.
        chunk_frames: Frames in a chunk, even; None for ``full``.
        all_exits: Run every segment, whatever the policy says; its choice is reported all the same.
        piece: The number to report as `DecidedChunk.piece`.
        first_frame: The number of the utterance's first frame.
        keep: How many of the last chunks that left early are kept, so that `revisit` can go on with them.
        observe: Is told of each chunk when it is decided.
        clock: Gives seconds.
        record: Keep what `second_pass` needs.
    """

    def __init__(
        self,
        spec: BundleSpec,
        engine: Engine,
        policy: Policy,
        *,
        chunk_frames: int | None,
        all_exits: bool = False,
        piece: int = 0,
        first_frame: int = 0,
        keep: int = 0,
        observe: Callable[[DecidedChunk], None] = lambda chunk: None,
        clock: Clock = time.perf_counter,
        record: bool = False,
    ) -> None:
        sizes = spec.encoder
        # What exits say, by output: word pieces, and phones where the bundle has them.
        self._said = {"log_probs": spec.tokens.size} | ({PHONES: spec.phones.size} if spec.phones else {})
        kinds = (*KINDS, *([PHONES] if spec.phones else []))
        self._record = PieceRecord(spec.chunks.full_max_frames // 2 * 2, kinds) if record else None
        self._engine, self._policy, self._all_exits = engine, policy, all_exits
        self._chunk_frames, self._piece, self._first_frame = chunk_frames, piece, first_frame
        self._kept: deque[ChunkPass] = deque(maxlen=keep)
        self._observe, self._clock = observe, clock
        self._blank, self._previous_exit = spec.tokens.blank, 0
        self._exits, self._tail = sizes.exits, sizes.tail_frames
        self._dim = sizes.dim
        self._hop, self._overlap = spec.frontend.hop, spec.frontend.overlap
        if chunk_frames is None:
            self._chunk = self._step = spec.chunks.full_max_frames // 2 * 2
            self._look = self._before = self._after = 0
        else:
            self._chunk, self._step, self._look = chunk_frames, sizes.step_frames, sizes.look_ahead
            self._before, self._after = sizes.overlap, sizes.overlap_right
        self._most = max_full_samples(spec) if chunk_frames is None else None
        self._history = sizes.history

        self._pcm = np.zeros(self._overlap + self._step * self._hop, dtype=np.float32)
        self._fill = 0  # samples in it
        self._samples = 0  # in all
        self._total: int | None = None  # frames in all, known at the end
        self._next = 0  # first frame of the next chunk
        self._index = 0  # its number
        alive = self._chunk + self._look + self._step + 1
        past = self._history + self._before
        self._memory = FrameBuffer(3 * self._dim, past + alive + self._look, before=past)
        self._hidden = FrameBuffer(self._dim, self._before + alive)
        self._first = {name: FrameBuffer(size, alive) for name, size in self._said.items()}  # what exit 1 says
        self._stats = FrameBuffer(len(ExitStats._fields), alive)
        self._seconds = FrameBuffer(1, alive)
        self._state: dict[str, Array] = {
            name: np.zeros((1, *shape), dtype=np.int64 if name == "n_past" else np.float32)
            for name, shape in sizes.trunk_state.items()
        }

    @property
    def samples(self) -> int:
        """Samples pushed so far."""
        return self._samples

    def push(self, pcm: Mono) -> list[DecidedChunk]:
        """Takes samples (N,) float32 and gives the chunks that they complete.

        Raises:
            AudioError: If the piece gets too long for ``full`` mode.
            NumericError: If a graph's output isn't a number.
        """
        self._samples += len(pcm)
        if self._most is not None and self._samples > self._most:
            raise AudioError(f"a piece of {self._samples} samples is too long for full mode: at most {self._most}")
        decided: list[DecidedChunk] = []
        while len(pcm):
            count = min(len(pcm), len(self._pcm) - self._fill)
            self._pcm[self._fill : self._fill + count] = pcm[:count]
            self._fill += count
            pcm = pcm[count:]
            if self._fill == len(self._pcm):
                self._run_trunk(self._step)
                decided += self._decide()
        return decided

    def flush(self) -> list[DecidedChunk]:
        """Ends the utterance: computes the tail and gives the remaining chunks (none without a sample)."""
        if not self._samples or self._total is not None:
            return []
        total = -(-self._samples // self._hop) + self._tail
        decided: list[DecidedChunk] = []
        while self._memory.end < total:
            self._run_trunk(min(self._step, total - self._memory.end))
            if self._memory.end < total:
                decided += self._decide()
        self._total = total
        self._memory.append_zeros(self._look + 1)
        self._hidden.append_zeros(1)
        return decided + self._decide()

    def provisional(self, *, phones: bool = False) -> LogProbs:
        """Gives exit 1's log-probabilities (T, V), or those of phones (T, P), of the frames that aren't decided yet."""
        rows = self._first[PHONES if phones else "log_probs"]
        return rows.rows(min(self._next, rows.end), rows.end).copy()

    def _run_trunk(self, n_valid: int) -> None:
        """Runs frontend and trunk on the next frames, and moves the samples on."""
        started = self._clock()
        frames = n_valid + n_valid % 2
        size = self._overlap + frames * self._hop
        self._pcm[self._fill : size] = 0.0
        inputs = {
            "frames": self._run("frontend", {"pcm": self._pcm[None, :size]}, {"frames": (frames, self._dim)})["frames"]
        }
        inputs["n_valid"] = np.array([n_valid], dtype=np.int64)
        shapes = self._shapes(frames) | {"memory": (frames, 3 * self._dim)}
        outputs = self._run("segment1", inputs | self._state, shapes)
        self._state = {name: outputs[f"next_{name}"] for name in self._state}
        _check_numbers("segment1", outputs, n_valid)
        self._memory.append(outputs["memory"][0, :n_valid])
        self._hidden.append(outputs["hidden"][0, :n_valid])
        self._stats.append(outputs["stats"][0, :n_valid])
        for name, rows in self._first.items():
            rows.append(outputs[name][0, :n_valid])
        if self._record is not None:
            self._record.append({name: outputs[name][0, :n_valid] for name in (*KINDS, *self._said)})
        done = n_valid * self._hop
        left = max(0, self._fill - done)
        self._pcm[:left] = self._pcm[done : done + left]  # NumPy copies overlapping memory safely
        self._fill = left
        self._seconds.append(np.full((n_valid, 1), (self._clock() - started) / n_valid))

    def _decide(self) -> list[DecidedChunk]:
        """Decides all chunks whose look-ahead is there."""
        decided = []
        while True:
            if self._total is None:
                n_valid, n_right = self._chunk, self._look
                if self._stats.end < self._next + n_valid + n_right:
                    break
            else:
                n_valid = min(self._chunk, self._total - self._next)
                if n_valid <= 0:
                    break
                n_right = min(self._look, self._total - self._next - n_valid)
            decided.append(self._decide_chunk(n_valid, n_right))
            self._next += n_valid
            self._index += 1
            self._memory.drop_before(self._next - self._before - self._history)
            self._hidden.drop_before(self._next - self._before)
            for buffer in (*self._first.values(), self._stats, self._seconds):
                buffer.drop_before(self._next)
        return decided

    def _decide_chunk(self, n_valid: int, n_right: int) -> DecidedChunk:
        start, end = self._next, self._next + n_valid
        before, after = min(self._before, start), min(self._after, n_right)
        first, n_run = start - before, before + n_valid + after
        frames, beyond = n_run + n_run % 2, self._look - self._after
        inputs: dict[str, Array] = {
            "window": self._memory.rows(first - self._history, first + frames + beyond)[None],
            "n_valid": np.array([n_run], dtype=np.int64),
            "n_left": np.array([min(self._history, first)], dtype=np.int64),
            "n_right": np.array([n_right - after], dtype=np.int64),
        }
        audio_frames = -(-self._samples // self._hop) if self._total is not None else end
        said = {name: rows.rows(start, end).copy() for name, rows in self._first.items()}
        chunk = ChunkPass(
            info=ChunkInfo(self._index, start, n_valid, self._chunk_frames, self._exits, self._previous_exit),
            n_audio=max(0, min(n_valid, audio_frames - start)),
            inputs=inputs,
            hidden=self._hidden.rows(first, first + frames)[None],
            before=before,
            views=[
                ExitView.of(
                    1,
                    self._stats.rows(start, end).copy(),
                    said["log_probs"],
                    seconds=float(self._seconds.rows(start, end).sum()),
                    blank=self._blank,
                    phones=said.get(PHONES),
                )
            ],
        )
        taken = self._advance(chunk, self._policy, all_exits=self._all_exits)
        self._previous_exit = taken
        if self._kept.maxlen and taken < self._exits:
            chunk.inputs["window"], chunk.hidden = chunk.inputs["window"].copy(), chunk.hidden.copy()
            self._kept.append(chunk)
        decided = self._decided(chunk, taken)
        self._observe(decided)
        return decided

    def revisit(self, index: int, policy: Policy) -> DecidedChunk | None:
        """Goes on with a chunk that left early.

        Args:
            index: The chunk's number in the piece.
            policy: Is asked from the exit on at which the chunk left.

        Returns:
            The chunk as it is now; None if it isn't kept, or the policy stops where it left.

        Raises:
            NumericError: If a graph's output isn't a number.
        """
        for chunk in self._kept:
            if chunk.info.index == index:
                left, chunk.deciding = len(chunk.views), 0.0
                taken = self._advance(chunk, policy)
                if taken == self._exits:
                    self._kept.remove(chunk)
                return self._decided(chunk, taken, revisited=True) if taken > left else None
        return None

    def second_pass(self, policy: Policy) -> DecidedChunk | None:
        """Runs the deeper segments once over the whole piece, as ``full`` mode does, on what the trunk has written.

        Args:
            policy: Is asked after each exit, about the whole piece.

        Returns:
            The piece as one chunk; None before `flush`, if nothing was recorded, or if the piece is too long.

        Raises:
            NumericError: If a graph's output isn't a number.
        """
        whole = None if self._record is None or self._total is None else self._record.whole()
        if whole is None:
            return None
        total = len(whole["hidden"])
        frames = total + total % 2
        window = np.zeros((1, self._history + frames, 3 * self._dim), dtype=np.float32)
        window[0, self._history : self._history + total] = whole["memory"]
        hidden = np.zeros((1, frames, self._dim), dtype=np.float32)
        hidden[0, :total] = whole["hidden"]
        counts = {"n_valid": total, "n_left": 0, "n_right": 0}
        chunk = ChunkPass(
            info=ChunkInfo(0, 0, total, None, self._exits, 0),
            n_audio=-(-self._samples // self._hop),
            inputs={"window": window} | {name: np.array([n], dtype=np.int64) for name, n in counts.items()},
            hidden=hidden,
            views=[ExitView.of(1, whole["stats"], whole["log_probs"], None, 0.0, self._blank, whole.get(PHONES))],
        )
        taken = self._advance(chunk, policy)
        return replace(self._decided(chunk, taken, revisited=True), whole=True)

    def _advance(self, chunk: ChunkPass, policy: Policy, *, all_exits: bool = False) -> int:
        """Runs segments until the policy stops, and gives the exit it takes."""
        taken: int | None = None
        frames, n_run = chunk.hidden.shape[1], int(chunk.inputs["n_valid"][0])
        rows = slice(chunk.before, chunk.before + chunk.info.n_valid)
        while True:
            view = chunk.views[-1]
            if taken is None:
                started = self._clock()
                if view.exit == self._exits or policy.stop(view, chunk.info):
                    taken = view.exit
                chunk.deciding += self._clock() - started
            if taken is not None and (not all_exits or view.exit == self._exits):
                return taken
            started = self._clock()
            graph = f"segment{view.exit + 1}"
            outputs = self._run(graph, chunk.inputs | {"frames": chunk.hidden}, self._shapes(frames))
            _check_numbers(graph, outputs, n_run)
            chunk.hidden = outputs["hidden"]
            stats, log_probs = outputs["stats"][0, rows], outputs["log_probs"][0, rows]
            phones = outputs[PHONES][0, rows] if PHONES in self._said else None
            seconds = self._clock() - started
            chunk.views.append(ExitView.of(view.exit + 1, stats, log_probs, view, seconds, self._blank, phones))

    def _decided(self, chunk: ChunkPass, taken: int, *, revisited: bool = False) -> DecidedChunk:
        views = tuple(chunk.views)
        return DecidedChunk(
            piece=self._piece,
            first_frame=self._first_frame + chunk.info.first_frame,
            n_valid=chunk.info.n_valid,
            n_audio=chunk.n_audio,
            exit=taken,
            log_probs=views[taken - 1].log_probs,
            stats=tuple(view.stats for view in views),
            all_log_probs=np.stack([view.log_probs for view in views]) if self._all_exits else None,
            segment_seconds=tuple(view.seconds for view in views),
            views=views,
            revisited=revisited,
            phones=views[taken - 1].phones,
            deciding=chunk.deciding,
        )

    def _shapes(self, frames: int) -> dict[str, tuple[int, int]]:
        said = {name: (frames, size) for name, size in self._said.items()}
        return {"hidden": (frames, self._dim), "stats": (frames, 4)} | said

    def _run(self, graph: str, inputs: Mapping[str, Array], shapes: Mapping[str, tuple[int, int]]) -> dict[str, Array]:
        outputs = self._engine.run(graph, inputs)
        for name, shape in shapes.items():
            if outputs[name].shape != (1, *shape):
                message = f"has shape {outputs[name].shape}, expected {(1, *shape)}"
                raise BundleError(message, file=graph, field=name)
        return outputs


def max_full_samples(spec: BundleSpec) -> int:
    """Gives the most samples of a piece in ``full`` mode, so that it fits with its tail."""
    return (spec.chunks.full_max_frames // 2 * 2 - spec.encoder.tail_frames) * spec.frontend.hop


def _check_numbers(graph: str, outputs: Mapping[str, Array], n_valid: int) -> None:
    for name in ("log_probs", "stats", *([PHONES] if PHONES in outputs else [])):
        # The largest of a row is NaN if one of them is; a log-probability of -inf is a number here.
        if not np.isfinite(outputs[name][0, :n_valid].max(axis=1)).all():
            raise NumericError(f"graph {graph}: output {name} holds NaN or infinity")
