"""A device whose speed is ours to choose: a clock that engine calls move on, and readers that say what we like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_asr.runtime.device_readers import DeviceState
from edge_asr.runtime.engine import Array, Engine


@dataclass
class FakeClock:
    """Seconds that pass only when somebody says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeEngine:
    """Runs an engine, and moves the clock by what the graph is said to take per frame."""

    engine: Engine
    clock: FakeClock
    per_frame: float = 0.001
    slowness: float = 1.0
    calls: list[str] = field(default_factory=list)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.calls.append(graph)
        if graph != "frontend":
            self.clock.now += self.per_frame * self.slowness * inputs["frames"].shape[1]
        return self.engine.run(graph, inputs)


@dataclass
class FakeReader:
    """Says what it is told to."""

    state: DeviceState = field(default_factory=DeviceState)

    def read(self) -> DeviceState:
        return self.state
