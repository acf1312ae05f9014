"""The model card, written from what is known of a model."""

from __future__ import annotations

from typing import Any

from edge_asr.model.config import ModelConfig
from edge_asr.training.weights import lineage
from export.parity import Parity
from export.writer import BundleOptions

CORPORA = {
    "librispeech": "LibriSpeech (Panayotov et al. 2015), CC BY 4.0",
    "commonvoice": "Mozilla Common Voice, CC0",
    "kathleen": "Kathleen, one US speaker, CC0 1.0",
    "ljspeech": "LJ Speech (Ito 2017), public domain",
    "speechocean762": "speechocean762 (Zhang et al. 2021), free for commercial and non-commercial use, CC BY 4.0",
    "synthetic-kokoro": "synthetic speech by Kokoro-82M (Apache-2.0) reading public-domain books",
    "synthetic-flite": "synthetic speech by four voices of flite (free licence of CMU) reading public-domain books",
    "synthetic-hibari": "synthetic speech by hibari-tts (Apache-2.0), distilled from Kokoro-82M (Apache-2.0), its "
    "pitch and formants changed, reading public-domain books",
    "vctk": "VCTK (Yamagishi et al.), ODC-By 1.0",
}


def _credits(corpora: dict[str, float]) -> list[str]:
    lines = []
    for name, hours in corpora.items():
        licence = next((text for key, text in CORPORA.items() if name.startswith(key)), "licence not recorded")
        lines.append(f"- `{name}`, {hours:.2f} h: {licence}")
    return lines


def _corpora(notes: dict[str, Any]) -> list[str]:
    """The last run's corpora, then those of the runs before it, as far as the weights record them."""
    own, earlier = notes.get("corpora") or {}, notes.get("earlier") or []
    lines = _credits(own) or ["- not recorded"]
    if not earlier:
        return lines
    name = next((f"`{run['name']}`" for run in reversed(earlier) if run.get("name")), "a model of unrecorded name")
    lines += ["", f"Training went on from {name}: what that was trained on, and under which licences, holds here too."]
    before = {corpus: hours for run in earlier for corpus, hours in (run.get("corpora") or {}).items()}
    lines += _credits({corpus: hours for corpus, hours in before.items() if corpus not in own})
    unknown = sum(not run.get("corpora") for run in earlier)
    if unknown:
        lines += [
            "",
            f"The corpora of {unknown} of its {len(earlier)} runs are not recorded; its model card names them.",
        ]
    return lines


def _teacher(runs: list[dict[str, Any]]) -> str:
    """What is said of teachers, which earlier versions recorded without their names."""
    used = [run["teacher"] for run in runs if run["teacher"]]
    if not used:
        return "The recipe uses no teacher model."
    names = sorted({name for name in used if isinstance(name, str)}) or ["a Whisper model; OpenAI, MIT licence"]
    return (
        "The weights were trained from scratch; beside the transcripts, they learned\nto predict the encoder states of "
        f"a teacher model on the training audio ({'; '.join(names)})."
    )


def _phones(config: ModelConfig) -> str:
    return f" and {config.phones - 1} phones (ARPAbet, those that begin a word apart)" if config.phones else ""


def model_card(
    config: ModelConfig,
    options: BundleOptions,
    exits: list[dict[str, Any]],
    share: float,
    parity: list[Parity],
    notes: dict[str, Any],
) -> str:
    """The card as Markdown.

    What the model is, what it was trained on, what it costs, and what it must not be used for.
    """
    name = str(round(options.chunk * 40))
    rows = [
        f"| {e['exit']} | {e['params'] / 1e6:.2f} | "
        + " | ".join(f"{m / 1e6:.1f}" for m in e["macs_per_second"].values())
        + " |"
        for e in exits
    ]
    chunks = list(exits[0]["macs_per_second"])
    checks = [
        f"| {p.precision} | {'full' if p.chunk is None else 40 * p.chunk} "
        f"| {p.largest:.1e} | {p.variation:.4f} | {p.agreement:.4f} | {p.token_errors:.4f} |"
        for p in parity
    ]
    runs = lineage(notes)
    trained = "; then ".join(
        f"{run['updates']} updates in {run['minutes']:.0f} minutes" + (" with a teacher" if run["teacher"] else "")
        for run in runs
    )
    branches = ", ".join(map(str, config.branches))
    return "\n".join(
        [
            f"# {options.name}",
            "",
            f"English speech recognition with {config.exits} exits ({config.architecture}, d={config.dim},",
            f"{config.layers} layers a segment, parallel 2x branches on segments {branches}),",
            f"{config.vocabulary} word pieces{_phones(config)}, CTC. {_teacher(runs)}",
            "",
            "## Cost",
            "Cumulative: what has run when the exit has spoken, frontend, heads and feedback counted.",
            "",
            "| exit | parameters (M) | " + " | ".join(f"MMAC/s, {c}" for c in chunks) + " |",
            "| --- | --- |" + " --- |" * len(chunks),
            *rows,
            "",
            f"In the int8 graphs every matrix product with a constant matrix is int8: {share:.1%} of the encoder's",
            f"work at {name} ms; attention scores and depthwise convolutions stay in float32.",
            "",
            "## Agreement with torch",
            "Posteriors of the runtime on this bundle against the torch model, on a sample recording; the worst exit.",
            "",
            "| precision | chunk (ms) | largest difference | mean total variation | same best token | token errors |",
            "| --- | --- | --- | --- | --- | --- |",
            *checks,
            "",
            "## Training data",
            *_corpora(notes),
            "",
            f"Training: {trained or 'not recorded'}.",
            "",
            "## Accuracy",
            "`docs/results.md` in the repository has each figure with its command, commit, data and machine.",
            "",
            "## Weaknesses",
            "Little training data: rare words and names are often misspelt; accents, noise, far microphones and",
            "telephone speech are much worse than read English. Text comes without punctuation. It knows English only",
            "and writes English words for any speech.",
            "",
            "## Not to be used for",
            "Decisions about people (legal, medical, hiring, policing), covert surveillance, or anything where a wrong",
            "word does harm.",
            "",
        ]
    )
