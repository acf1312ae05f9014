"""`scripts/peers.py` and its worker, with this project's exits in environments that need no installation."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import OptionError, PeerError
from edge_asr.evaluation.peers import environment
from edge_asr.evaluation.peers.contest import worker_options
from edge_asr.evaluation.peers.environment import environment_python, prepare_environment
from edge_asr.evaluation.peers.system import OUR_PACKAGES, PEERS, System, choose, our_systems


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """An environment for our systems that is the one of the tests, and one that cannot be made."""
    root = tmp_path / "environments"
    python = root / "ours" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (root / "ours" / "ready.json").write_text(json.dumps(sorted(OUR_PACKAGES)))
    return root


def run(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "scripts" / "peers.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=repository)


def test_our_exits(
    repository: Path,
    environments: Path,
    fake_model: Path,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    out = tmp_path / "out"
    arguments = [samples / "manifest.jsonl", "--out", out, "--model", fake_model, "--environments", environments]
    arguments += [
        "--only",
        "ours-exit1",
        "--only",
        "ours-auto",
        "--limit",
        2,
        "--loads",
        1,
        "--reference",
        "ours-exit1",
    ]
    done = run(repository, *arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "peers.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["ours-exit1", "ours-auto"]
    for row in result["rows"]:
        assert row["rtf"] > 0
        assert row["peak_rss"] > 20 << 20
        assert 0 < row["model_bytes"] < 10 << 20
        assert 0 < row["load_cpu"] < 30
    assert result["rows"][0]["ratio"] == 1.0
    assert (out / "peers.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "peers.md").read_text() in done.stdout
    before = (out / "answers.jsonl").read_text()
    again = run(repository, *arguments)
    assert again.returncode == 0, again.stderr
    assert (out / "answers.jsonl").read_text() == before
    wrong = run(repository, *arguments, "--only", "siri")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: system 'siri' is unknown; allowed: ours-exit1")


def test_the_worker_reports_errors_and_keeps_stdout_clean(repository: Path, tmp_path: Path) -> None:
    worker = repository / "scripts" / "peer_worker.py"
    done = subprocess.run(
        [sys.executable, str(worker), "whisper", '{"threads": 1}'],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError" in json.loads(done.stdout)["error"]


def test_pieces_of_a_token_table(repository: Path) -> None:
    read_pieces = runpy.run_path(str(repository / "scripts" / "peer_worker.py"))["read_pieces"]
    long = b"x" * 300
    table = bytes([2]) + b"ab" + bytes([0]) + bytes([300 % 128 + 128, 300 // 128]) + long
    assert read_pieces(table) == [b"ab", b"", long]


def test_names_and_settings(fake_model: Path) -> None:
    ours = our_systems(Bundle.load(fake_model), "sources")
    names = [system.name for system in [*ours, *PEERS]]
    assert len(names) == len(set(names))
    assert names[0] == "ours-exit1"
    assert "ours-auto" in names
    assert not any(name.endswith("-lm") for name in names)
    bundle = Bundle.load(fake_model)
    with_lm = our_systems(replace(bundle, spec=replace(bundle.spec, lm="en.lm")), "sources")
    assert [s.name for s in with_lm] == [s.name for s in ours] + [f"{s.name}-lm" for s in ours]
    assert {s.options["decoder"] for s in ours} == {"greedy"}
    assert bundle.policy is not None
    own = replace(bundle.policy, thresholds={"640": (0.1, 0.2)})
    both = replace(bundle, spec=replace(bundle.spec, lm="en.lm"), policy=replace(bundle.policy, decoders={"lm": own}))
    thresholds = {s.name: s.options["thresholds"] for s in our_systems(both, "sources") if "auto" in s.name}
    assert thresholds["ours-auto"] == ["frame_entropy", *bundle.policy.thresholds["640"]]
    assert thresholds["ours-auto-lm"] == ["frame_entropy", 0.1, 0.2]
    digests = {system.digest for system in [*ours, *PEERS]}
    assert len(digests) == len(names)
    assert [s.digest for s in our_systems(Bundle.load(fake_model), "elsewhere")] == [s.digest for s in ours]
    assert choose(PEERS, []) == PEERS
    assert [system.name for system in choose(PEERS, ["pocket", "moonshine-tiny-onnx"])] == [
        "moonshine-tiny-onnx",
        "pocketsphinx",
    ]
    with pytest.raises(OptionError, match="system 'siri' is unknown; allowed: whisper"):
        choose(PEERS, ["siri"])


def test_all_of_a_policy_identifies_auto(fake_model: Path) -> None:
    bundle = Bundle.load(fake_model)
    assert bundle.policy is not None

    def auto(**changes: Any) -> System:
        assert bundle.policy is not None
        (found,) = choose(our_systems(replace(bundle, policy=replace(bundle.policy, **changes)), "x"), ["ours-auto"])
        return found

    found = [
        auto(),
        auto(hysteresis=0.2),
        auto(temperatures={"640": (2.0, 1.0, 1.0)}),
        auto(parameters={"640": {"exits": [[1.0]]}}),
        auto(parameters={"640": {"exits": [[2.0]]}}),
    ]
    assert len({system.digest for system in found}) == len(found)
    assert auto(parameters={"320": {"exits": [[2.0]]}}).digest == found[0].digest  # another chunk size's
    assert all("besides" not in worker_options(system, 1) for system in found)


def test_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = System("a", "a", "env", ("--no-index", "no-such-package-anywhere"), "about")
    with pytest.raises(PeerError, match=r"environment 'env' cannot be made: .*no-such-package-anywhere"):
        prepare_environment(tmp_path, wanted)
    python = environment_python(tmp_path, wanted)
    assert python.exists()
    made: list[list[str]] = []

    def pretend(command: list[str], system: System, timeout: float) -> None:
        made.append(command)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(environment, "_run", pretend)
    for packages, count in ((("x==1",), 2), (("x==1",), 2), (("x==2",), 4)):
        assert prepare_environment(tmp_path, System("a", "a", "env", packages, "about")) == python
        assert len(made) == count
