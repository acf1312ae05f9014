"""What all commands share: how errors leave the program, and a progress bar for people who watch.

Exit codes: 0 fine, 1 a named error, 2 bad usage, 130 interrupted. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import typer

from edge_asr.errors import EdgeAsrError, OptionError

INTERRUPTED = 130

Options = ParamSpec("Options")
Tick = Callable[[], None]


def report(error: BaseException) -> None:
    """Print an error as one line on stderr."""
    message = " ".join(str(error).split())
    typer.echo(f"error: {message or type(error).__name__}", err=True)


def command(function: Callable[Options, None]) -> Callable[Options, None]:
    """Let a command's errors leave the program as one line and an exit code.

    A named error is printed and ends the program with 1; so does any other exception, which the line says
    is unexpected. With the option `debug` exceptions pass, and Python prints the traceback. Ctrl-C ends
    the program with 130.

    Args:
        function: the command; its keyword `debug` is the option.
    """

    @wraps(function)
    def run(*args: Options.args, **kwargs: Options.kwargs) -> None:
        try:
            if sys.stdout is None:  # Python's stand-in where it was closed
                raise OptionError("stdout is closed; expected a place for results, such as /dev/null")
            function(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except typer.Exit:
            raise
        except Exception as error:
            if kwargs.get("debug"):
                raise
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of a pipe has gone: typer ends quietly
            if not isinstance(error, EdgeAsrError):
                error = RuntimeError(f"unexpected {type(error).__name__}: {error} (--debug shows where)")
            report(error)
            raise typer.Exit(1) from None

    return run


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Tick]:
    """Show a progress bar on stderr if that is a terminal; gives a function to call after each step.

    Args:
        label: what is done.
        total: how many steps there are; None if nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)
