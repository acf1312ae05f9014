"""Options that several commands have, so that they mean the same everywhere."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MODEL = "en-tiny"
AUTO = "auto"


class Chunk(str, Enum):
    """Chunk sizes: milliseconds, or a whole piece of at most 30 s."""

    MS_320 = "320"
    MS_640 = "640"
    MS_1280 = "1280"
    FULL = "full"

    @property
    def argument(self) -> int | str:
        """The size as the recogniser takes it."""
        return self.value if self is Chunk.FULL else int(self.value)


class Decoder(str, Enum):
    """Decoders; auto is lm if there is a language model, else greedy."""

    AUTO = "auto"
    GREEDY = "greedy"
    BEAM = "beam"
    LM = "lm"


def parse_exit(value: str | int) -> str | int:
    """Read `auto` or the number of an exit; whether the model has that exit is the recogniser's to say."""
    if value == AUTO:
        return AUTO
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is neither {AUTO!r} nor the number of an exit") from None


Model = Annotated[str, typer.Option("--model", metavar="NAME|DIR", help="A known model, or a bundle's folder.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", help="Which of the model's precisions (default: its own)."),
]
ChunkSize = Annotated[Chunk, typer.Option("--chunk", help="Milliseconds decided together; full: all at once.")]
DecoderName = Annotated[Decoder, typer.Option("--decoder", help="How log-probabilities become text.")]
Exit = Annotated[
    str,
    typer.Option(
        "--exit",
        metavar="auto|1..6",
        parser=parse_exit,
        help="auto stops when sure; a number fixes the depth.",
    ),
]
LmFile = Annotated[
    Path | None,
    typer.Option("--lm", metavar="FILE", help="A language model (default: the bundle's own, if it has one)."),
]
HotwordFile = Annotated[
    Path | None,
    typer.Option("--hotwords", metavar="FILE", help="Phrases to prefer, one a line; after tabs boost and phones."),
]
Threads = Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Threads for each graph.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
