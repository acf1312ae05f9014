"""`edge-asr calibrate`: a bundle gets thresholds that its runtime then uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_asr.evaluation.dataset import load_dataset
from edge_asr.evaluation.evaluate import evaluate
from edge_asr.runtime.recognizer import Recognizer
from tests.cli.conftest import Run


def policy_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "policy.json").read_text())
    return found


@pytest.mark.parametrize("criterion", ["margin", "learned_gate"])
def test_thresholds_are_written_and_used(run: Run, fake_model_copy: Path, samples: Path, criterion: str) -> None:
    policy = fake_model_copy / "policy.json"
    policy.write_text(policy.read_text().replace('"graphs": "', '"graphs": "0'))  # made for other graphs
    options = ["--criterion", criterion, "--max-loss", "5%", "--temperature", "--hysteresis", "0.01"]
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    document = policy_of(fake_model_copy)
    assert document["criterion"] == criterion
    notes = document["calibration"]
    assert notes["utterances"] == 5
    assert notes["data"] == "manifest.jsonl"
    assert len(notes["data_sha256"]) == 64
    assert notes["goal"] == {"max_loss": 0.05}
    assert set(document["temperatures"]) == set(document["reference"]) == set(document["thresholds"])
    assert not list(fake_model_copy.glob("policy.json.*"))


@pytest.mark.parametrize(
    ("goal", "decoder"),
    [(["--max-loss", "5%"], "greedy"), (["--max-loss", "5%"], "beam"), (["--mean-macs", "0.0025"], "greedy")],
)
def test_what_it_says_is_what_an_evaluation_finds(
    run: Run, fake_model_copy: Path, samples: Path, tmp_path: Path, goal: list[str], decoder: str
) -> None:
    cache = tmp_path / "cache"
    options = [*goal, "--cache", cache, "--chunk", "640", "--chunk", "full", "--decoder", decoder]
    assert run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options).exit_code == 0
    document = policy_of(fake_model_copy)
    assert run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options).exit_code == 0
    assert policy_of(fake_model_copy) == document  # from the recorded passes
    assert len(list(cache.glob("*.npz"))) == 2
    utterances, recognizer = load_dataset(samples / "manifest.jsonl"), Recognizer.load(fake_model_copy)
    for chunk in document["thresholds"]:
        found = evaluate(recognizer, utterances, chunk=chunk, decoder=recognizer.decoder(decoder))
        assert found.auto is not None
        assert document["calibration"]["decoder"] == decoder
        point = document["calibration"]["points"][chunk]
        assert found.auto.wer == point["wer"]
        assert found.auto.mean_macs_per_second == pytest.approx(point["mean_cost"])
        if goal[0] == "--max-loss":
            assert found.auto.wer <= found.exits[-1].wer * 1.05
        else:
            assert found.auto.mean_macs_per_second <= 2500


def test_each_decoder_gets_thresholds_that_its_texts_judge(run: Run, fake_model_copy: Path, samples: Path) -> None:
    options = ["--max-loss", "10%", "--chunk", "640", "--decoder", "greedy", "--decoder", "beam"]
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    assert "beam, chunk 640: margin" in result.stdout
    document = policy_of(fake_model_copy)
    assert document["calibration"]["decoder"] == "greedy"
    assert document["decoders"]["beam"]["calibration"]["decoder"] == "beam"
    assert document["decoders"]["beam"]["calibration"]["data_sha256"] == document["calibration"]["data_sha256"]
    utterances, recognizer = load_dataset(samples / "manifest.jsonl"), Recognizer.load(fake_model_copy)
    for decoder, part in {"greedy": document, "beam": document["decoders"]["beam"]}.items():
        found = evaluate(recognizer, utterances, chunk=640, decoder=recognizer.decoder(decoder))
        assert found.auto is not None
        assert found.auto.wer == part["calibration"]["points"]["640"]["wer"]
        assert found.auto.mean_macs_per_second == pytest.approx(part["calibration"]["points"]["640"]["mean_cost"])
    shown = run("info", fake_model_copy)
    assert "calibration, beam: " in shown.stdout


def test_a_real_time_factor_and_another_file(run: Run, fake_model_copy: Path, samples: Path, tmp_path: Path) -> None:
    before, out = policy_of(fake_model_copy), tmp_path / "other.json"
    options = ["--rtf", "10", "--chunk", "640", "--out", out]
    assert run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options).exit_code == 0
    assert policy_of(fake_model_copy) == before
    assert json.loads(out.read_text())["calibration"]["cost"] == "seconds"


def test_a_promise_that_little_data_cannot_give(run: Run, fake_model_copy: Path, samples: Path) -> None:
    options = ["--confidence", "0.9", "--chunk", "640"]
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    assert "full depth stays" in result.stdout
    point = policy_of(fake_model_copy)["calibration"]["points"]["640"]
    assert point["certified"] is False
    assert point["mean_cost"] == point["full_depth_cost"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--criterion", "mood"], "criterion='mood'"),
        (["--max-loss", "-1"], "max_loss=-1"),
        (["--max-loss", "little"], "loss 'little'"),
        (["--mean-macs", "0.0001", "--chunk", "640"], "impossible, exit 1 alone costs 1000"),
        (["--mean-macs", "1", "--rtf", "1"], "exactly one of"),
        (["--mean-macs", "1", "--confidence", "0.9"], "with max_loss only"),
        (["--confidence", "1.5"], "confidence=1.5"),
        (["--rtf", "0"], "rtf=0.0"),
    ],
)
def test_errors_leave_the_old_policy(
    run: Run, fake_model_copy: Path, samples: Path, options: list[str], message: str
) -> None:
    before = (fake_model_copy / "policy.json").read_text()
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", "--limit", "2", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert (fake_model_copy / "policy.json").read_text() == before


def test_no_data(run: Run, fake_model_copy: Path, samples: Path) -> None:
    assert "DATA is missing" in run("calibrate", fake_model_copy).stderr
    assert "not found" in run("calibrate", fake_model_copy, samples / "nowhere.jsonl").stderr


def test_from_a_device_log(run: Run, fake_model_copy: Path, samples: Path, tmp_path: Path) -> None:
    assert (
        run(
            "calibrate", fake_model_copy, samples / "manifest.jsonl", "--chunk", "640", "--criterion", "frame_entropy"
        ).exit_code
        == 0
    )
    document = policy_of(fake_model_copy)
    document["thresholds"]["640"] = [0.5, 0.5]
    document["levels"]["640"] = [[0.75, 0.625]]
    document["reference"]["640"] = [
        {"edges": [0.4, 0.5, 0.6], "shares": [0.25] * 4, "stop": 0.5},
        {"edges": [], "shares": [1.0], "stop": 0.0},
    ]
    (fake_model_copy / "policy.json").write_text(json.dumps(document))
    log = {
        "graphs": document["graphs"],
        "criterion_name": "frame_entropy",
        "criterion": {"640": [[100, 100, 300, 500], [7]]},
    }
    file = tmp_path / "monitor.json"
    file.write_text(json.dumps(log))
    result = run("calibrate", fake_model_copy, "--from-log", file)
    assert result.exit_code == 0, result.stderr
    assert policy_of(fake_model_copy)["thresholds"]["640"] == [pytest.approx(0.6), 0.5]  # half are at most 0.6 now
    assert policy_of(fake_model_copy)["levels"]["640"] == [[pytest.approx(0.85), 0.625]]  # and is still cheaper
    Recognizer.load(fake_model_copy)
    # A decoder's own thresholds move by what was counted under them.
    own = {name: document[name] for name in ("criterion", "thresholds", "reference")}
    (fake_model_copy / "policy.json").write_text(json.dumps(document | {"decoders": {"lm": own}}))
    file.write_text(json.dumps(log | {"criterion": {"lm/640": log["criterion"]["640"]}}))
    assert run("calibrate", fake_model_copy, "--from-log", file).exit_code == 0
    moved = policy_of(fake_model_copy)
    assert moved["thresholds"]["640"] == [0.5, 0.5]
    assert moved["decoders"]["lm"]["thresholds"]["640"] == [pytest.approx(0.6), 0.5]
    assert moved["calibration"]["from_log"]["chunks"] == ["lm/640"]
    (fake_model_copy / "policy.json").write_text(json.dumps(document))
    for change, message in (
        ({"graphs": "0"}, "isn't a monitor's of this model"),
        ({"criterion": {}}, "no counts for chunk 640"),
        ({"criterion": {"640": [[1, 1, 1, 1], [1]]}}, "no exit saw 200 chunks"),
        ({"criterion": {"640": [[900, 1], [1]]}}, "2 bins in the log, 4 in the policy"),
        ({"criterion": {"640": [[900, 1]]}}, "counts of 1 exits, expected 2"),
        ({"criterion": {"640": [["x"], [1]]}}, "aren't lists of counts"),
        ({"criterion": {"640": [[10**400, 1, 1, 1], [1]]}}, "aren't lists of counts"),
        ({"criterion": None}, "field 'criterion' isn't an object"),
        ({"criterion": 3}, "field 'criterion' isn't an object"),
        ({"calibrations": []}, "field 'calibrations' isn't an object"),
        ({"calibrations": {"640": "0" * 64}}, "chunk 640 was counted under another calibration"),
    ):
        file.write_text(json.dumps(log | change))
        result = run("calibrate", fake_model_copy, "--from-log", file)
        assert result.exit_code == 1
        assert message in result.stderr
    file.write_text("[" * 100_000)
    assert "cannot be read" in run("calibrate", fake_model_copy, "--from-log", file).stderr
    file.write_text(json.dumps(log))
    del document["thresholds"]["640"]
    (fake_model_copy / "policy.json").write_text(json.dumps(document))
    assert "has no counts for chunk" in run("calibrate", fake_model_copy, "--from-log", file).stderr


def test_the_log_of_the_calibration_that_is_there(
    run: Run, fake_model_copy: Path, samples: Path, tmp_path: Path
) -> None:
    options = ["--chunk", "640", "--decoder", "greedy", "--criterion", "learned_gate", "--mean-macs", "0.0025"]
    assert run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options).exit_code == 0
    recognizer, (file, other) = Recognizer.load(fake_model_copy), (tmp_path / name for name in ("log.json", "o.json"))
    for _ in range(20):
        recognizer.transcribe(samples / "commonvoice-40206213.flac", decoder="greedy")
    log = recognizer.monitor.snapshot()
    assert sum(log["criterion"]["640"][0]) >= 200
    file.write_text(json.dumps(log))
    assert run("calibrate", fake_model_copy, "--from-log", file, "--out", other).exit_code == 0
    document = policy_of(fake_model_copy)
    document["parameters"]["640"]["exits"][0][0] += 1.0  # a gate that was trained anew
    (fake_model_copy / "policy.json").write_text(json.dumps(document))
    result = run("calibrate", fake_model_copy, "--from-log", file, "--out", other)
    assert result.exit_code == 1
    assert "chunk 640 was counted under another calibration" in result.stderr


def test_hysteresis_is_in_the_figures(run: Run, fake_model_copy: Path, samples: Path) -> None:
    options = ["--mean-macs", "0.0022", "--hysteresis", "0.05", "--chunk", "640", "--decoder", "greedy"]
    assert run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options).exit_code == 0
    document = policy_of(fake_model_copy)
    assert document["hysteresis"] == 0.05
    found = evaluate(Recognizer.load(fake_model_copy), load_dataset(samples / "manifest.jsonl"), chunk=640)
    assert found.auto is not None
    point = document["calibration"]["points"]["640"]
    assert found.auto.mean_macs_per_second == pytest.approx(point["mean_cost"])
    assert found.auto.mean_macs_per_second <= 2200
    assert found.auto.wer == point["wer"]


def test_what_is_not_calibrated_now_stays(run: Run, fake_model_copy: Path, samples: Path, tmp_path: Path) -> None:
    def calibrated(*options: str) -> tuple[dict[str, Any], str]:
        common = ["--cache", tmp_path / "cache", "--limit", "2", "--criterion", "learned_gate"]
        result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *common, *options)
        assert result.exit_code == 0, result.stderr
        return policy_of(fake_model_copy), " ".join(result.stdout.split())

    before, said = calibrated("--decoder", "greedy", "--decoder", "beam")
    assert "not kept: greedy" not in said  # all of it is there anew
    chunks = list(before["thresholds"])
    rest = [chunk for chunk in chunks if chunk != "640"]
    after, said = calibrated("--chunk", "640", "--max-loss", "50%", "--decoder", "greedy")
    assert f"kept as it was: greedy, chunk {', '.join(rest)}" in said
    assert f"kept as it was: beam, chunk {', '.join(chunks)}" in said
    assert after["decoders"]["beam"] == before["decoders"]["beam"]
    for name in ("thresholds", "levels", "parameters", "reference"):
        assert list(after[name]) == chunks
        assert all(after[name][chunk] == before[name][chunk] for chunk in rest)
    notes = after["calibration"]
    assert notes["goal"] == {"max_loss": 0.5}
    assert list(notes["earlier"]) == rest
    assert notes["earlier"]["320"]["goal"] == {"max_loss": 0.02}
    assert all(notes["points"][chunk] == before["calibration"]["points"][chunk] for chunk in rest)
    for chunk in chunks:
        Recognizer.load(fake_model_copy).policy("auto", chunk)
    # A decoder that wasn't the first one doesn't take the place of one that has more.
    later, said = calibrated("--chunk", "640", "--decoder", "beam")
    assert {name: later[name] for name in later if name != "decoders"} == {
        name: after[name] for name in after if name != "decoders"
    }
    assert list(later["decoders"]["beam"]["calibration"]["earlier"]) == rest
    # What was judged as something else goes, and that is said.
    last, said = calibrated("--chunk", "640", "--decoder", "greedy", "--hysteresis", "0.1")
    assert f"not kept: greedy, chunk {', '.join(rest)} (its hysteresis was 0.0)" in said
    assert list(last["thresholds"]) == ["640"]
    last, said = calibrated("--chunk", "320", "--decoder", "greedy", "--criterion", "margin")
    assert "not kept: greedy, chunk 640 (its criterion was learned_gate)" in said
    assert (list(last["thresholds"]), "decoders" in last) == (["320"], False)


def test_thresholds_of_other_graphs_go(run: Run, fake_model_copy: Path, samples: Path) -> None:
    policy = fake_model_copy / "policy.json"
    policy.write_text(policy.read_text().replace('"graphs": "', '"graphs": "0'))
    options = ["--limit", "2", "--chunk", "640", "--criterion", "frame_entropy"]
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.exit_code == 0, result.stderr
    assert "(it was of other graphs)" in " ".join(result.stdout.split())
    assert list(policy_of(fake_model_copy)["thresholds"]) == ["640"]


@pytest.mark.parametrize(("out", "reason"), [("nowhere/policy.json", "No such file"), (".", "Is a directory")])
def test_where_to_write_is_looked_at_first(
    run: Run, fake_model_copy: Path, tmp_path: Path, samples: Path, out: str, reason: str
) -> None:
    cache = tmp_path / "cache"
    options = ["--out", tmp_path / out, "--cache", cache, "--limit", "1"]
    result = run("calibrate", fake_model_copy, samples / "manifest.jsonl", *options)
    assert result.exit_code == 1
    assert f"cannot be written: {reason}" in result.stderr
    assert "--out names another file" in result.stderr
    assert not cache.exists()  # nothing has run
