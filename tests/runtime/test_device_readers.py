"""What a device says about itself."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from threading import Thread

import pytest

from edge_asr.exits.fixed import FixedPolicy
from edge_asr.runtime import recognizer as module
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.device_readers import BatteryReader, CpuReader, DeviceState, ThermalReader, read_all
from edge_asr.runtime.recognizer import Recognizer
from tests.runtime.fake_device import FakeClock, FakeReader

Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")


class Cores:
    """What psutil says of them, for as long as a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        psutil = pytest.importorskip("psutil")
        self.clock, self.times = FakeClock(), Times(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        monkeypatch.setattr(psutil, "cpu_times", lambda: self.times)
        monkeypatch.setattr(psutil, "cpu_percent", lambda: 100.0)

    def run(self, seconds: float, **spent: float) -> None:
        self.clock.now += seconds
        self.times = self.times._replace(**{name: getattr(self.times, name) + more for name, more in spent.items()})


def test_readers(tmp_path: Path) -> None:
    for zone, degrees in (("thermal_zone0", "41000"), ("thermal_zone1", "67500\n"), ("thermal_zone2", "x")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "temp").write_text(degrees)
    (tmp_path / "BAT0").mkdir()
    (tmp_path / "BAT0" / "capacity").write_text("37\n")
    (tmp_path / "BAT0" / "status").write_text("Discharging\n")
    mouse = tmp_path / "AAA"
    mouse.mkdir()
    for name, text in (("capacity", "3"), ("status", "Discharging"), ("type", "Battery"), ("scope", "Device")):
        (mouse / name).write_text(text + "\n")
    state = read_all([ThermalReader(tmp_path), BatteryReader(tmp_path), FakeReader(DeviceState(load=0.5))])
    assert state == DeviceState(load=0.5, temperature=67.5, battery=0.37, charging=False)
    nothing = tmp_path / "nothing"
    assert read_all([ThermalReader(nothing), BatteryReader(nothing)]) == DeviceState()


def test_load_is_measured_over_half_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch)
    reader = CpuReader(cores.clock)
    assert reader.read().load is None
    cores.run(0.4, user=0.8)
    assert reader.read().load is None
    cores.run(0.6, user=0.2, system=0.3, idle=0.5, iowait=0.2, guest=0.2)  # a guest's time is the user's too
    assert reader.read().load == pytest.approx(1.3 / 2.0)
    cores.run(0.1, user=0.2)
    assert reader.read().load == pytest.approx(1.3 / 2.0)
    cores.run(2.0, idle=3.8)
    assert reader.read().load == pytest.approx(0.2 / 4.0)
    cores.run(2.0)  # counts that stand still say nothing
    assert reader.read().load == pytest.approx(0.2 / 4.0)


def test_another_reader_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores(monkeypatch)
    first = CpuReader(cores.clock)
    cores.run(1.0, user=0.5, idle=1.5)
    second = CpuReader(cores.clock)
    assert second.read().load is None
    assert first.read().load == pytest.approx(0.25)


def test_the_streams_of_a_recogniser_share_one_set(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeReader] = []

    def readers() -> list[FakeReader]:
        made.append(FakeReader(DeviceState(temperature=99.0)))
        return made[-1:]

    monkeypatch.setattr(module, "default_readers", readers)
    fresh = Recognizer(recognizer.bundle, recognizer.engine, recognizer.tokens, recognizer.precision)
    controllers = [fresh.controller(Budget(rtf=1.0), FixedPolicy(3)) for _ in range(3)]
    assert len(made) == 1
    for controller in controllers:
        controller._read_device()
        assert controller.state.temperature == 99.0


def test_a_reader_is_safe_for_threads() -> None:
    pytest.importorskip("psutil")
    reader, found = CpuReader(FakeClock()), list[float | None]()
    threads = [Thread(target=lambda: found.append(reader.read().load)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None] * 8
