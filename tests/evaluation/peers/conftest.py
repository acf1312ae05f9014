"""A recogniser that says what a test wants, and clips to hear."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.peers.contest import Clip, convert
from edge_asr.evaluation.peers.system import System

FAKE = textwrap.dedent(
    """
    import json, os, sys, time
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    say = lambda value: print(value if isinstance(value, str) else json.dumps(value), flush=True)
    first = options.get("first", {"ready": True, "version": "1", "model_bytes": 10, "load_cpu": 0.5})
    open(options["log"], "a").write(kind + " start\\n")
    if options.get("stderr"):
        print(options["stderr"], file=sys.stderr, flush=True)
    say(first)
    for number, line in enumerate(sys.stdin):
        audio = os.path.basename(json.loads(line)["audio"])
        open(options["log"], "a").write(kind + " " + audio + "\\n")
        if number >= options.get("good", 10**6):
            if options.get("then") == "die":
                os._exit(3)
            if options.get("then") == "sleep":
                time.sleep(60)
            say(options["then"])
            continue
        answer = {"text": options.get("text", "ONE TWO"), "cpu": options.get("cpu", 0.25), "wall": 0.5}
        say(answer | {"peak_rss": 1000 + number})
    """
)


@pytest.fixture
def fake_worker(tmp_path: Path) -> list[str]:
    """The command of a fake worker."""
    path = tmp_path / "fake_worker.py"
    path.write_text(FAKE)
    return [sys.executable, str(path)]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[], list[str]]:
    """What the fake workers were asked, in order: their kind and the file."""
    path = tmp_path / "asked.log"
    return lambda: path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def make_system(tmp_path: Path) -> Callable[..., System]:
    """A system whose worker is a fake one; the options say how it behaves."""

    def make(name: str, **options: object) -> System:
        return System(name, name, "none", (), f"about {name}", options, {"log": str(tmp_path / "asked.log")})

    return make


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Four clips of two speakers, each of a tenth of a second."""
    folder = tmp_path / "clips"
    folder.mkdir()
    result = []
    for i in range(4):
        soundfile.write(folder / f"{i}.flac", 0.1 * np.ones(800), 8000)
        result.append(convert(Utterance(f"u{i}", folder / f"{i}.flac", "ONE TWO", f"s{i % 2}"), folder))
    return result


def options(system: System) -> str:
    """What a fake worker is started with."""
    return json.dumps({**system.options, **system.places})
