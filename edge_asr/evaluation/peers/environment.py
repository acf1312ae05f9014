"""Virtual environments of the recognisers: made once, kept, and made again when their packages change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from edge_asr.errors import PeerError
from edge_asr.evaluation.peers.system import System

READY = "ready.json"


def environment_python(root: Path, system: System) -> Path:
    """Where the Python of a system's environment is, or will be."""
    folder = root / system.environment
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def prepare_environment(root: Path, system: System, *, timeout: float = 1800.0) -> Path:
    """Make a system's virtual environment with the packages it names, from the registry that pip is set up for.

    A file in it, written last, says which packages were asked for: an environment that was interrupted, or made for
    others, is made again.

    Args:
        root: the folder of all environments.
        system: whose it is.
        timeout: seconds for pip.

    Returns:
        Its Python.

    Raises:
        PeerError: it cannot be made, or its packages cannot be installed; the message ends with pip's last line.

    Example:
        >>> prepare_environment(Path("environments"), PEERS[0])  # doctest: +SKIP
        PosixPath('environments/whisper/bin/python')
    """
    python, ready = environment_python(root, system), root / system.environment / READY
    packages = sorted(system.packages)
    if python.exists() and _read(ready) == packages:
        return python
    shutil.rmtree(root / system.environment, ignore_errors=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *packages]
    _run([sys.executable, "-m", "venv", str(root / system.environment)], system, timeout)
    _run([str(python), *install], system, timeout)
    ready.write_text(json.dumps(packages) + "\n", encoding="utf-8")
    return python


def _read(ready: Path) -> object:
    try:
        return json.loads(ready.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _run(command: list[str], system: System, timeout: float) -> None:
    try:
        # A session of its own: Ctrl-C is for the caller, which then ends; pip would print its own account of it.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"environment {system.environment!r} cannot be made: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output"
        )
        raise PeerError(f"environment {system.environment!r} cannot be made: {reason.strip()}")
