"""The program `edge-asr`. Commands import what they need when they run, so that help comes at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edge_asr import __version__
from edge_asr.cli.calibrate import calibrate
from edge_asr.cli.console import INTERRUPTED
from edge_asr.cli.demo import demo
from edge_asr.cli.evaluate import evaluate
from edge_asr.cli.info import info
from edge_asr.cli.tradeoff import tradeoff
from edge_asr.cli.transcribe import transcribe

app = typer.Typer(
    name="edge-asr",
    help="On-device speech recognition that stops computing when it is sure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("transcribe")(transcribe)
app.command("eval")(evaluate)
app.command("calibrate")(calibrate)
app.command("tradeoff")(tradeoff)
app.command("info")(info)
app.command("demo")(demo)


def show_version(wanted: bool) -> None:
    """Print the version and end, if that is wanted."""
    if wanted:
        typer.echo(f"edge-asr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    """On-device speech recognition that stops computing when it is sure."""


def main() -> None:
    """Entry point of the command line."""
    try:
        app(prog_name="edge-asr")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
