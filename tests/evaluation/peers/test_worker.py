"""A recogniser in another process: what it answers, and everything else it may do instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_asr.errors import PeerError
from edge_asr.evaluation.peers.system import System
from edge_asr.evaluation.peers.worker import Answer, Worker
from tests.evaluation.peers.conftest import options

Make = Callable[..., System]


def start(fake_worker: list[str], system: System, folder: Path, **limits: float) -> Worker:
    return Worker(system.name, [*fake_worker, system.kind, options(system)], folder / "log", **limits)


def test_it_answers(fake_worker: list[str], make_system: Make, tmp_path: Path) -> None:
    with start(fake_worker, make_system("a", text="É hm"), tmp_path) as worker:
        assert (worker.load.version, worker.load.model_bytes, worker.load.cpu) == ("1", 10, 0.5)
        assert 0 < worker.load.wall < 60
        assert worker.ask(Path("x.wav")) == Answer("É hm", 0.25, 0.5, 1000)
        assert worker.ask(Path("y.wav")).peak_rss == 1001
    with pytest.raises(PeerError, match="a: the process has ended"):
        worker.ask(Path("z.wav"))
    worker.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("no json", "answered 'no json'; expected a line of JSON"),
        ("[1]", "answered '\\[1\\]'; expected a JSON object"),
        ("x" * 3000, "answered 'xxx"),
        ({"text": 3, "cpu": 1, "wall": 1, "peak_rss": 1}, "field 'text' is 3; expected a string"),
        ({"text": "A", "wall": 1, "peak_rss": 1}, "field 'cpu' is None; expected a number from 0"),
        ({"text": "A", "cpu": -1, "wall": 1, "peak_rss": 1}, "field 'cpu' is -1"),
        ({"text": "A", "cpu": True, "wall": 1, "peak_rss": 1}, "field 'cpu' is True"),
        ('{"text": "A", "cpu": NaN, "wall": 1, "peak_rss": 1}', "field 'cpu' is nan"),
        ({"error": "ValueError:\n it is\n broken"}, "a: ValueError: it is broken$"),
        ("die", "a: the process has ended: the last line$"),
    ],
)
def test_malformed_answers(
    said: object, message: str, fake_worker: list[str], make_system: Make, tmp_path: Path
) -> None:
    system = make_system("a", good=1, then=said, stderr="first\nthe last line\n")
    with start(fake_worker, system, tmp_path) as worker:
        worker.ask(Path("x.wav"))
        with pytest.raises(PeerError, match=message):
            worker.ask(Path("y.wav"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"ready": False}, "field 'ready' is False"),
        ({"ready": True, "version": "1", "model_bytes": "many", "load_cpu": 1}, "field 'model_bytes' is 'many'"),
        ({"error": "ModuleNotFoundError: No module named 'x'"}, "No module named 'x'"),
        ("hello", "expected a line of JSON"),
    ],
)
def test_malformed_starts(
    said: object, message: str, fake_worker: list[str], make_system: Make, tmp_path: Path
) -> None:
    with pytest.raises(PeerError, match=message):
        start(fake_worker, make_system("a", first=said), tmp_path)


def test_it_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"nowhere/python.*cannot be started"):
        Worker("a", [str(tmp_path / "nowhere" / "python")], tmp_path / "log")


def test_it_takes_too_long(fake_worker: list[str], make_system: Make, tmp_path: Path) -> None:
    with (
        start(fake_worker, make_system("a", good=0, then="sleep"), tmp_path) as worker,
        pytest.raises(PeerError, match=r"no answer within 0\.2 s"),
    ):
        worker.ask(Path("x.wav"), timeout=0.2)
