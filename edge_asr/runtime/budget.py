"""What a device can afford."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edge_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that the runtime keeps by leaving earlier; no audio is ever dropped.

    Computation is what segments, the policy and decoding take; reading, resampling and partial texts aren't counted.
    A second pass runs when it is asked for, however long it takes: of the limits only ``max_exit`` holds for it, and
    ``mean_rtf`` counts it.

    Attributes:
        rtf: Most seconds of computation per second of audio, for 95 % of the chunks.
        deadline: Most seconds of computation for a chunk, for 95 % of the chunks.
        mean_rtf: Most seconds of computation per second of audio on average over half a minute; single chunks
            may take longer.
        max_exit: The deepest exit, from 1.
        revisit: What a piece of audio (to the next long silence) has left over goes into its uncertain chunks,
            at its end.
        final_delay: Most seconds that such revisits may take.
        hot: From this temperature in °C on, limits are halved.
        low_battery: From this charge down (a share, 0.2 is 20 %), limits are halved, unless it is charging.

    Raises:
        OptionError: If none of the limits is given, or a value is out of range.

    Example:
        >>> Budget.parse("rtf=0.2,max_exit=4")
        Budget(rtf=0.2, deadline=None, mean_rtf=None, max_exit=4, revisit=True, final_delay=0.5, hot=80.0, low_battery=0.2)
    """  # noqa: E501

    rtf: float | None = None
    deadline: float | None = None
    mean_rtf: float | None = None
    max_exit: int | None = None
    revisit: bool = True
    final_delay: float = 0.5
    hot: float = 80.0
    low_battery: float = 0.2

    def __post_init__(self) -> None:
        limits = ("rtf", "deadline", "mean_rtf", "max_exit")
        if all(getattr(self, name) is None for name in limits):
            raise OptionError(f"budget: no limit given, expected one of {', '.join(limits)}")
        for name in ("rtf", "deadline", "mean_rtf"):
            value = getattr(self, name)
            if value is not None and not _above(value, 0.0):
                raise OptionError(f"budget: {name}={value!r}: expected a number above 0")
        exit = self.max_exit
        if exit is not None and (isinstance(exit, bool) or not isinstance(exit, int) or exit < 1):
            raise OptionError(f"budget: max_exit={exit!r}: expected an integer from 1")
        if not _above(self.final_delay, -1e-12):
            raise OptionError(f"budget: final_delay={self.final_delay!r}: expected seconds from 0")
        if not _above(self.hot, 0.0):
            raise OptionError(f"budget: hot={self.hot!r}: expected a temperature above 0 °C")
        if not _above(self.low_battery, -1e-12) or self.low_battery > 1:
            raise OptionError(f"budget: low_battery={self.low_battery!r}: expected a share from 0 to 1")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads ``name=value`` pairs with commas between them.

        Raises:
            OptionError: If a name isn't one of the attributes, or a value isn't what it takes.
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, float | int | bool] = {}
        for part in text.split(","):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            if name not in known or not sign:
                raise OptionError(f"budget {part.strip()!r}: expected name=value with a name of {', '.join(known)}")
            if name in values:
                raise OptionError(f"budget: {name} is given twice")
            try:
                if name == "revisit":
                    values[name] = {"true": True, "false": False, "1": True, "0": False}[value.lower()]
                else:
                    values[name] = int(value) if name == "max_exit" else float(value)
            except (ValueError, KeyError):
                raise OptionError(f"budget: {name}={value!r}: expected a number, or true or false") from None
        return cls(**values)  # type: ignore[arg-type]

    def chunk_limit(self, seconds: float) -> float:
        """Gives the most seconds of computation for a chunk of so many seconds of audio; infinite if free."""
        limits = [math.inf]
        if self.rtf is not None:
            limits.append(self.rtf * seconds)
        if self.deadline is not None:
            limits.append(self.deadline)
        return min(limits)


def _above(value: object, limit: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and limit < value < math.inf  # type: ignore[operator]
