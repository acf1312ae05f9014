"""`edge-asr info`: what is in a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_asr.cli.console import command
from edge_asr.cli.options import DEFAULT_MODEL, Debug

if TYPE_CHECKING:
    from rich.console import Console

    from edge_asr.bundle.bundle import Bundle
    from edge_asr.bundle.policy import PolicySpec


@command
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A known model, or a bundle's folder.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show a model's sizes, exits, chunk sizes, precisions, thresholds and metrics. Its files are checked."""
    from edge_asr.bundle.bundle import Bundle
    from edge_asr.bundle.models import resolve

    bundle = Bundle.load(resolve(model))
    facts = describe(bundle)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    show(facts, Console(highlight=False))


def describe(bundle: Bundle) -> dict[str, Any]:
    """The facts about a bundle, as JSON values; sizes in bytes, by precision the graphs and the frontend."""
    spec, policy = bundle.spec, bundle.policy
    sizes = {
        precision: sum(spec.files[file].bytes for file in {spec.frontend.file, *files})
        for precision, files in spec.segments.items()
    }
    return {
        "name": spec.name,
        "path": str(bundle.path),
        "language": spec.language,
        "producer": spec.producer,
        "created": spec.created,
        "architecture": spec.encoder.architecture,
        "dim": spec.encoder.dim,
        "sample_rate": spec.sample_rate,
        "tokens": spec.tokens.size,
        "history_ms": spec.chunk_ms(spec.encoder.history),
        "overlap_ms": spec.chunk_ms(spec.encoder.overlap),
        "look_ahead_ms": spec.chunk_ms(spec.encoder.look_ahead),
        "chunks": list(spec.chunk_names),
        "default_chunk": str(spec.chunk_ms(spec.chunks.default)),
        "precisions": sizes,
        "default_precision": spec.default_precision,
        "bytes": sum(file.bytes for file in spec.files.values()),
        "exits": [
            {"exit": exit.exit, "params": exit.params, "macs_per_second": dict(exit.macs_per_second)}
            for exit in spec.exits
        ],
        "policy": policy
        and {"precision": policy.precision}
        | said(policy)
        | {"decoders": {decoder: said(part) for decoder, part in policy.decoders.items()}},
        "metrics": dict(spec.metrics),
    }


def said(policy: PolicySpec) -> dict[str, Any]:
    """What a policy says of one decoder."""
    return {
        "criterion": policy.criterion,
        "thresholds": {chunk: list(values) for chunk, values in policy.thresholds.items()},
        "calibration": dict(policy.calibration),
    }


def show(facts: dict[str, Any], console: Console) -> None:
    """Print the facts for people."""
    from rich.table import Table
    from rich.text import Text

    about = f"  {facts['architecture']}, d={facts['dim']}, {facts['language']}"
    console.print(Text.assemble((facts["name"], "bold"), about))
    sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in facts["precisions"].items())
    default = facts["default_precision"]
    lines = {
        "folder": facts["path"],
        "made": f"{facts['created']} by {facts['producer']}",
        "precisions": f"{sizes} (default: {default}); all files {facts['bytes'] / 1e6:.1f} MB",
        "chunks": f"{', '.join(facts['chunks'])} (ms; default: {facts['default_chunk']})",
        "context": f"{facts['history_ms']} ms of history, {facts['look_ahead_ms']} ms of look-ahead, "
        f"{facts['overlap_ms']} ms of overlap",
        "tokens": str(facts["tokens"]),
    }
    for name, value in lines.items():
        console.print(f"{name + ':':<12}{value}", markup=False, soft_wrap=True)
    console.print("cost, each exit with all that has run before it:")
    exits = Table()
    exits.add_column("exit", justify="right")
    exits.add_column("parameters", justify="right")
    for chunk in facts["chunks"]:
        exits.add_column(f"MMAC/s, {chunk}", justify="right")
    for exit in facts["exits"]:
        macs = exit["macs_per_second"]
        costs = [f"{macs[chunk] / 1e6:.1f}" if chunk in macs else "–" for chunk in facts["chunks"]]
        exits.add_row(str(exit["exit"]), f"{exit['params']:,}", *costs)
    console.print(exits)
    policy = facts["policy"]
    if policy is None:
        console.print("thresholds: none, so only fixed exits; edge-asr calibrate makes them")
    else:
        span = f"exits 1 to {len(facts['exits']) - 1}"
        parts = [(policy["calibration"].get("decoder", ""), policy), *policy["decoders"].items()]
        several = len(parts) > 1
        console.print(f"thresholds on {policy['criterion']}, {span}, {policy['precision']}:", markup=False)
        thresholds = Table()
        for name in [*(["decoder"] if several else []), "chunk"]:
            thresholds.add_column(name, justify="right")
        thresholds.add_column("thresholds")
        for decoder, part in parts:
            for chunk, values in part["thresholds"].items():
                cells = [chunk, "  ".join(f"{value:.4g}" for value in values)]
                thresholds.add_row(*([Text(decoder), *cells] if several else cells))
        console.print(thresholds)
    notes = {"calibration": (policy or {}).get("calibration")}
    for decoder, part in (policy or {}).get("decoders", {}).items():
        notes[f"calibration, {decoder}"] = part["calibration"]
    for title, values in {**notes, "metrics": facts["metrics"]}.items():
        if values:
            console.print(f"{title}: {json.dumps(values, ensure_ascii=False)}", markup=False, soft_wrap=True)
