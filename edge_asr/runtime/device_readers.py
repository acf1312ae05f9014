"""What a device says about itself: load, temperature, battery. Each reader is small, and may be replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from edge_asr.errors import MissingExtraError

THERMAL = Path("/sys/class/thermal")
POWER = Path("/sys/class/power_supply")
LOAD_SECONDS = 0.5
"""The shortest time over which CPU load is measured: cores count in hundredths of a second."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device's state; None where it can't be known.

    Attributes:
        load: Share of all cores that is busy, 0 to 1, whoever keeps them busy.
        temperature: Of the hottest sensor, in °C.
        battery: Charge, 0 to 1.
        charging: Whether it is plugged in.
    """

    load: float | None = None
    temperature: float | None = None
    battery: float | None = None
    charging: bool | None = None


class DeviceReader(Protocol):
    """Reads some of a device's state. Another platform gives its own to `Recognizer.load`."""

    def read(self) -> DeviceState:
        """Reads what this reader knows; never raises, and gives None for what can't be read."""
        ...


class CpuReader:
    """CPU load, from psutil's counts. Safe for threads: the streams of a recogniser share one.

    Args:
        clock: Gives seconds.

    Raises:
        MissingExtraError: If psutil isn't installed.

    Example:
        >>> reader = CpuReader()  # doctest: +SKIP
        >>> time.sleep(1.0)  # doctest: +SKIP
        >>> reader.read().load  # doctest: +SKIP
        0.25
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            import psutil
        except ImportError as error:
            raise MissingExtraError("CPU load needs psutil: pip install 'edge-asr[monitor]'") from error
        self._lock, self._clock, self._times = Lock(), clock, psutil.cpu_times
        self._load: float | None = None
        self._at, self._before = clock(), _spent(self._times())

    def read(self) -> DeviceState:
        """Reads the load since it was last measured, at least 0.5 s; sooner the last one again, None at first."""
        with self._lock:
            if self._clock() - self._at >= LOAD_SECONDS:
                self._at, now = self._clock(), _spent(self._times())
                busy, total = (after - before for after, before in zip(now, self._before, strict=True))
                self._before = now
                if total > 0:
                    self._load = min(1.0, max(0.0, busy / total))
            return DeviceState(load=self._load)


def _spent(times: Any) -> tuple[float, float]:
    """Seconds that cores were busy, and all of them. A guest's are among the user's; waiting for a disk is idle."""
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


class ThermalReader:
    """The hottest of Linux's thermal zones."""

    def __init__(self, folder: Path = THERMAL) -> None:
        self._folder = folder

    def read(self) -> DeviceState:
        """Reads all zones."""
        found = [_number(zone / "temp") for zone in self._folder.glob("thermal_zone*")]
        degrees = [value / 1000 for value in found if value is not None]
        return DeviceState(temperature=max(degrees) if degrees else None)


class BatteryReader:
    """The device's first battery among Linux's power supplies; a mouse's or a headset's doesn't count."""

    def __init__(self, folder: Path = POWER) -> None:
        self._folder = folder

    def read(self) -> DeviceState:
        """Reads charge and status."""
        for supply in sorted(self._folder.glob("*")):
            charge = _number(supply / "capacity")
            others = _text(supply / "scope") == "Device" or _text(supply / "type") not in (None, "Battery")
            if charge is not None and not others:
                status = _text(supply / "status")
                charging = None if status is None else status in ("Charging", "Full", "Not charging")
                return DeviceState(battery=charge / 100, charging=charging)
        return DeviceState()


def default_readers() -> list[DeviceReader]:
    """The readers that work here: temperature and battery always, CPU load if psutil is installed."""
    readers: list[DeviceReader] = [ThermalReader(), BatteryReader()]
    with suppress(MissingExtraError):  # measured times show load as well, a little later
        readers.append(CpuReader())
    return readers


def read_all(readers: Sequence[DeviceReader]) -> DeviceState:
    """Puts together what all readers know; earlier ones win."""
    states = [reader.read() for reader in readers]

    def first(name: str) -> object:
        return next((value for state in states if (value := getattr(state, name)) is not None), None)

    return DeviceState(*(first(name) for name in DeviceState.__slots__))  # type: ignore[arg-type]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
