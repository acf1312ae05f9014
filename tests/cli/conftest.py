"""Running the program: in this process, and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_asr.cli.app import app

Run = Callable[..., Result]
Spawn = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run() -> Run:
    """Runs `edge-asr` with these arguments in this process."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def spawn(repository: Path) -> Spawn:
    """Runs Python with these arguments in a process of its own, in the repository."""

    def spawn(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=repository,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return spawn
