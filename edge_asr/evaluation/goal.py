"""What a calibration is to reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from edge_asr.errors import OptionError


@dataclass(frozen=True, slots=True)
class Goal:
    """A wanted loss, a wanted mean cost in multiply-accumulates, or a wanted mean real-time factor.

    Args:
        max_loss: how much worse than full depth WER may get, relative: 0.02 allows 2 % more errors.
        mean_macs: mean multiply-accumulates per second of audio.
        rtf: mean seconds that the encoder computes per second of audio, on the machine that calibrates; deciding and
            decoding, which a `Budget` counts too, aren't in it.
        confidence: how sure the loss has to be, over the choice of utterances; None for an estimate only.

    Raises:
        OptionError: not exactly one of the first three is given, or a number is out of range.

    Example:
        >>> Goal.parse_loss("2%")
        0.02
    """

    max_loss: float | None = None
    mean_macs: float | None = None
    rtf: float | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("max_loss", "mean_macs", "rtf") if getattr(self, name) is not None]
        if len(given) != 1:
            raise OptionError(
                f"{', '.join(given) or 'no goal'} given: expected exactly one of max_loss, mean_macs, rtf"
            )
        if self.max_loss is not None and not 0 <= self.max_loss < float("inf"):
            raise OptionError(f"max_loss={self.max_loss!r}: expected a fraction from 0, such as 0.02")
        for name in ("mean_macs", "rtf"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise OptionError(f"{name}={value!r}: expected a number above 0")
        if self.confidence is not None:
            if self.max_loss is None:
                raise OptionError("confidence: allowed with max_loss only")
            if not 0.5 <= self.confidence < 1:
                raise OptionError(f"confidence={self.confidence!r}: expected 0.5 to less than 1, such as 0.9")

    @property
    def mean_cost(self) -> float | None:
        """The wanted mean cost, in multiply-accumulates or in seconds, per second of audio."""
        return self.mean_macs if self.mean_macs is not None else self.rtf

    def as_json(self) -> dict[str, float | None]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        if self.max_loss is not None:
            return f"max_loss={self.max_loss}"
        return f"mean_macs={self.mean_macs}" if self.mean_macs is not None else f"rtf={self.rtf}"

    @staticmethod
    def parse_loss(text: str) -> float:
        """Reads `2%` or `0.02`.

        Raises:
            OptionError: it is neither.
        """
        try:
            return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            raise OptionError(f"loss {text!r}: expected a percentage such as 2%, or a fraction such as 0.02") from None
