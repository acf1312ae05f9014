"""The budget controller on a simulated device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from edge_asr.decoding.decoding import Decoded, Decoding
from edge_asr.errors import OptionError
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.stats import ChunkInfo
from edge_asr.exits.view import ExitView
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.controller import BudgetController
from edge_asr.runtime.decided_chunk import DecidedChunk
from edge_asr.runtime.device_readers import DeviceState
from edge_asr.runtime.encoder import EncoderStream
from edge_asr.runtime.engine import Array, Engine
from edge_asr.runtime.monitor import Monitor
from edge_asr.runtime.recognizer import Recognizer
from edge_asr.runtime.segment_costs import SegmentCosts
from edge_asr.runtime.stream import Stream
from tests.fake_bundle import PIECES
from tests.runtime.fake_device import FakeClock, FakeEngine, FakeReader
from tests.runtime.helpers import Setup, noise

FRAMES, CHUNK = 16, 0.64
FULL = 3 * FRAMES * 0.001  # all three segments of a chunk on the fake device


class Device:
    """A stream on a simulated device, and all chunks that it decided."""

    def __init__(
        self,
        setup: Setup,
        budget: Budget,
        policies: Sequence[Policy] = (FixedPolicy(3),),
        reader: FakeReader | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine(setup.engine, self.clock)
        self.controller = BudgetController(
            budget,
            policies,
            exits=3,
            frame_seconds=0.04,
            costs=SegmentCosts([1.0, 2.0, 3.0]),
            readers=[reader or FakeReader()],
            clock=self.clock,
        )
        self.decided: list[DecidedChunk] = []
        self.stream = EncoderStream(
            setup.bundle,
            self.engine,
            self.controller,
            chunk_frames=FRAMES,
            keep=self.controller.keep,
            observe=self.observe,
            reviser=self.controller,
            clock=self.clock,
        )

    def observe(self, chunk: DecidedChunk) -> None:
        self.controller.observe(chunk)
        self.decided.append(chunk)

    def hear(self, chunks: int, seed: int = 0) -> list[DecidedChunk]:
        return self.stream.push(noise(chunks * FRAMES * 640, seed))

    @property
    def exits(self) -> list[int]:
        return [chunk.exit for chunk in self.decided]

    @property
    def seconds(self) -> list[float]:
        return [sum(chunk.segment_seconds) for chunk in self.decided]


def test_a_device_that_slows_down_in_the_middle(usual: Setup) -> None:
    """Four times slower: chunk times return under the deadline within ten chunks, and no audio is lost."""
    deadline = 1.5 * FULL  # the trunk alone takes 4/3 of full depth then
    device = Device(usual, Budget(deadline=deadline, revisit=False))
    device.hear(20)
    assert set(device.exits) == {3}
    device.engine.slowness = 4.0
    device.hear(30, seed=1)
    assert device.exits[-1] == 1
    device.stream.flush()
    assert np.quantile(device.seconds[30:], 0.95) <= deadline
    assert device.controller.misses <= 2
    frames = sum(chunk.n_valid for chunk in device.decided)
    assert frames == 50 * FRAMES + usual.bundle.spec.encoder.tail_frames
    firsts = [chunk.first_frame for chunk in device.decided]
    assert firsts == sorted(set(firsts))


@pytest.mark.parametrize(("slowness", "exit"), [(1.0, 3), (1.5, 2), (2.5, 1)])
def test_depth_follows_the_deadline(usual: Setup, slowness: float, exit: int) -> None:
    device = Device(usual, Budget(deadline=1.05 * FULL, revisit=False))
    device.engine.slowness = slowness
    device.hear(20)
    assert set(device.exits[2:]) == {exit}
    assert max(device.seconds) <= 1.05 * FULL
    assert device.controller.misses == 0


def test_depth_comes_back_when_the_device_recovers(usual: Setup) -> None:
    device = Device(usual, Budget(rtf=1.1 * FULL / CHUNK, revisit=False))
    for slowness in (1.0, 2.5, 1.0):
        device.engine.slowness = slowness
        device.hear(25, seed=int(slowness))
    assert device.exits[20] == 3
    assert device.exits[45] == 1
    assert device.exits[-1] == 3


def test_a_mean_is_kept_by_moving_along_the_policies(usual: Setup) -> None:
    device = Device(usual, Budget(mean_rtf=0.7 * FULL / CHUNK, revisit=False))
    device.hear(120)
    late = device.seconds[40:]
    assert np.mean(late) / CHUNK <= 0.75 * FULL / CHUNK
    assert device.controller.level > 0
    assert min(device.exits[40:]) < max(device.exits[40:]) or set(device.exits[40:]) == {2}


def test_states_of_the_device_lower_the_limit(usual: Setup) -> None:
    reader = FakeReader()
    device = Device(usual, Budget(deadline=1.1 * FULL, revisit=False), reader=reader)
    device.hear(5)
    assert device.exits[-1] == 3
    for state, share in (
        (DeviceState(temperature=85.0), 0.5),
        (DeviceState(battery=0.1, charging=False), 0.5),
        (DeviceState(battery=0.1, charging=True), 1.0),
        (DeviceState(load=1.0), 0.8),
        (DeviceState(temperature=85.0, battery=0.1), 0.25),
        (DeviceState(temperature=40.0, battery=0.9, load=0.5), 1.0),
    ):
        reader.state = state
        device.clock.now += 10
        device.hear(2)
        assert device.controller.limit(FRAMES) == pytest.approx(1.1 * FULL * share)
    assert device.controller.state == reader.state


def test_max_exit(usual: Setup) -> None:
    device = Device(usual, Budget(max_exit=2))
    device.hear(5)
    assert set(device.exits) == {2}
    with pytest.raises(OptionError, match="max_exit=4: the model has exits 1 to 3"):
        Device(usual, Budget(max_exit=4))


def test_unsure_chunks_are_revisited_at_the_end(usual: Setup) -> None:
    """Exit 1 only during speech because of a slow spell; what was left over before it repairs chunks at the end."""
    device = Device(usual, Budget(deadline=1.5 * FULL, final_delay=0.4))
    device.hear(6)
    device.engine.slowness = 6.0
    device.hear(3, seed=1)
    device.engine.slowness = 1.0
    assert 1 in device.exits
    before = device.exits.count(1)
    revisited = [chunk for chunk in device.stream.flush() if chunk.revisited]
    assert revisited
    assert max(chunk.exit for chunk in revisited) == 3
    assert len(revisited) <= before
    again = Device(usual, Budget(deadline=1.5 * FULL, revisit=False))
    again.hear(6)
    again.hear(3, seed=1)
    again.stream.flush()
    whole = {chunk.first_frame: chunk.views for chunk in again.decided}
    for chunk in revisited:  # a deep segment's result doesn't depend on when it runs
        assert np.array_equal(chunk.log_probs, whole[chunk.first_frame][chunk.exit - 1].log_probs)


def test_a_stream_repairs_its_text(recognizer: Recognizer) -> None:
    """With time left at the end, the final is that of full depth although the partial was exit 1's."""
    pcm = noise(4 * FRAMES * 640 + 200, seed=5)
    clock = FakeClock()
    engine = FakeEngine(recognizer.engine, clock)
    controller = BudgetController(
        Budget(deadline=10 * FULL, final_delay=1.0),
        [FixedPolicy(3)],
        exits=3,
        frame_seconds=0.04,
        costs=SegmentCosts([1.0, 2.0, 3.0]),
        clock=clock,
    )
    stream = Stream(
        recognizer.bundle,
        engine,
        recognizer.tokens,
        FixedPolicy(3),
        chunk_frames=FRAMES,
        keep_log_probs=True,
        controller=controller,
        monitor=recognizer.monitor,
    )
    engine.slowness = 20.0
    stream.feed(pcm)
    engine.slowness = 0.1
    partial = stream.log_probs
    final = stream.finish()
    deep = recognizer.stream(exit=3, keep_log_probs=True)
    deep.feed(pcm)
    expected = deep.finish()
    assert not np.array_equal(partial, deep.log_probs[: len(partial)])
    assert final.text == expected.text
    assert np.array_equal(stream.log_probs, deep.log_probs)
    assert [chunk.exit for chunk in final.chunks] == [3] * len(expected.chunks)
    assert final.tokens == expected.tokens
    assert [(c.start, c.end) for c in final.chunks] == [(c.start, c.end) for c in expected.chunks]
    assert recognizer.monitor is not None
    assert recognizer.monitor.snapshot()["revisits"] > 0


def test_a_recogniser_with_a_budget(recognizer: Recognizer) -> None:
    pcm = noise(48_000)
    free = recognizer.transcribe(pcm, exit=3)
    tight = replace(recognizer, budget=Budget(deadline=1e-9), costs={})
    assert {chunk.exit for chunk in tight.transcribe(pcm, exit=3).chunks} == {1}
    assert {chunk.exit for chunk in recognizer.transcribe(pcm, exit=3, budget=Budget(max_exit=2)).chunks} == {2}
    assert recognizer.transcribe(pcm, exit=3, budget=Budget(rtf=1e6)).text == free.text
    hot = replace(recognizer, readers=[FakeReader(DeviceState(temperature=99.0))])
    controller = hot.controller(Budget(rtf=1.0), FixedPolicy(3))
    controller._read_device()
    assert controller.limit(FRAMES) == pytest.approx(CHUNK / 2)
    stream = recognizer.stream(budget=Budget(rtf=10.0))
    stream.feed(pcm)
    stream.revisit()
    assert stream.finish().text == recognizer.transcribe(pcm).text


class Slow:
    """A policy and a decoding that take their time."""

    phones = False
    pieces = PIECES
    last_token_frame = None

    def __init__(self, clock: FakeClock, deciding: float, decoding: float) -> None:
        self.clock, self.deciding, self.decoding = clock, deciding, decoding

    def stop(self, view: ExitView, chunk: ChunkInfo) -> bool:
        self.clock.now += self.deciding
        return view.exit == 3

    def push(self, log_probs: Any) -> None:
        self.clock.now += self.decoding

    def result(self, count: int = 1) -> Decoded:
        return Decoded("", (), (), ())


def slow_stream(
    recognizer: Recognizer, monitor: Monitor, slow: Slow, deadline: float
) -> tuple[Stream, BudgetController]:
    """A stream with what decides and decodes slowly, and the controller of its deadline."""
    controller = BudgetController(
        Budget(deadline=deadline, revisit=False),
        [slow],
        exits=3,
        frame_seconds=0.04,
        costs=SegmentCosts([1.0, 2.0, 3.0]),
        clock=slow.clock,
    )
    stream = Stream(
        recognizer.bundle,
        FakeEngine(recognizer.engine, slow.clock),
        recognizer.tokens,
        slow,
        chunk_frames=FRAMES,
        controller=controller,
        monitor=monitor,
        decoding=cast("Decoding", slow),
    )
    return stream, controller


@pytest.mark.parametrize(("deciding", "decoding"), [(0.0, 0.0), (FULL / 6, 0.0), (0.0, FULL / 3)])
def test_deciding_and_decoding_are_computation_too(recognizer: Recognizer, deciding: float, decoding: float) -> None:
    clock, monitor = FakeClock(), Monitor(3)
    stream, controller = slow_stream(recognizer, monitor, Slow(clock, deciding, decoding), deadline=1.1 * FULL)
    for _ in range(60):  # the first chunk, whose cost nobody knows, is forgotten by then
        stream.feed(noise(FRAMES * 640))
    exits = [chunk.exit for chunk in stream.finish().chunks]
    assert set(exits[-5:-1]) == ({3} if deciding == decoding == 0 else {2})
    assert controller.misses <= 2
    assert monitor.snapshot()["compute_seconds"] == pytest.approx(clock.now, rel=1e-6)


def test_the_monitor_counts_what_the_controller_calls_late(recognizer: Recognizer) -> None:
    """Segments alone would keep the limit; with decoding they don't."""
    monitor = Monitor(3)
    stream, controller = slow_stream(recognizer, monitor, Slow(FakeClock(), 0.0, FULL / 3), deadline=FULL / 2)
    stream.feed(noise(20 * FRAMES * 640))
    assert controller.misses >= 15
    assert monitor.snapshot()["deadline_misses"] == controller.misses


@dataclass
class Hiccup:
    """An engine whose third segment takes long once, when it is told to."""

    engine: Engine
    clock: FakeClock
    now: bool = False

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph == "segment3" and self.now:
            self.clock.now, self.now = self.clock.now + FULL, False
        return self.engine.run(graph, inputs)


@pytest.mark.parametrize("before", [0, 3, 30])
def test_one_late_chunk_of_twenty_is_within_the_promise(usual: Setup, before: int) -> None:
    device = Device(usual, Budget(deadline=1.02 * FULL, revisit=False))
    hiccup = device.engine.engine = Hiccup(device.engine.engine, device.clock)
    device.hear(before)
    hiccup.now = True
    device.hear(10)
    assert device.controller.misses == 1
    assert set(device.exits) == {3}
    hiccup.now = True  # two of the last twenty are not
    device.hear(10)
    assert device.controller.misses == 2
    assert device.exits[-1] < 3


def test_costs_are_multiples_of_the_trunk() -> None:
    costs = SegmentCosts([2.0, 3.0, 6.0])
    assert costs.predict(2, 16, trunk_seconds=0.2) == pytest.approx(0.1)  # by multiply-accumulates
    for _ in range(5):
        costs.observe([0.16, 0.32], 16)
    costs.observe([], 16)
    assert costs.predict(2, 16) == pytest.approx(0.32)
    assert costs.predict(3, 8) == pytest.approx(0.12)
    costs.observe([0.64], 16)
    assert costs.predict(2, 16, trunk_seconds=0.64) == pytest.approx(1.28)
