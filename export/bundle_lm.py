"""A bundle's language model: how a file gets in, is kept in the next export, and what the model card says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_asr.bundle.bundle import sha256_of
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import DataError

HEADING = "## Language model"


def counts_of(sizes: Iterable[int]) -> str:
    """Says how many n-grams of each order there are.

    Example:
        >>> counts_of([1003, 20])
        '1,003 1-grams, 20 2-grams'
    """
    return ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(sizes, start=1))


def add_to_bundle(lm: Path, bundle: Path) -> None:
    """Lists a language-model file, which lies in a bundle's directory, in its ``bundle.json``."""
    manifest = bundle / "bundle.json"
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        fields["lm"] = {"file": lm.name}
        fields["files"][lm.name] = {"bytes": lm.stat().st_size, "sha256": sha256_of(lm)}
        partial = manifest.with_name(manifest.name + ".partial")
        partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        partial.replace(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: can't be extended: {error!r}") from error


def describe(bundle: Path, file: Path, counts: str, about: str) -> None:
    """Says in the bundle's model card what the language model was made of; an earlier description is replaced."""
    card = bundle / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {bundle.name}\n"
    before, _, tail = _parts(text)
    size = f"`{file.name}`, {file.stat().st_size / 1e6:.1f} MB: {counts}."
    section = f"\n{HEADING}\n{size}\n{about or 'Its text is not described.'}\n"
    card.write_text(before.rstrip("\n") + "\n" + section + tail, encoding="utf-8")


def about(file: Path) -> str:
    """What the model card beside a language-model file says of its text and licences; empty if it says nothing."""
    card = file.parent / "README.md"
    section = _parts(card.read_text(encoding="utf-8", errors="replace"))[1] if card.is_file() else ""
    size, _, rest = section.partition("\n")
    return rest.strip("\n") if size.startswith(f"`{file.name}`,") else ""


def _parts(card: str) -> tuple[str, str, str]:
    """A card's text before the language model's section, the section without its heading, and what follows."""
    before, _, rest = card.partition(f"\n{HEADING}\n")
    section, found, after = rest.partition("\n## ")
    return before, section, f"\n## {after}" if found else ""


def kept_lm(bundle: Path) -> Path | None:
    """The language model of a bundle that an export will replace; None if it has none, or there is no bundle.

    Raises:
        DataError: ``bundle.json`` can't be read, so that one might be lost.
    """
    manifest = bundle / "bundle.json"
    if not manifest.exists():
        return None
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        name = fields["lm"]["file"] if "lm" in fields else None
        return None if name is None else bundle / name
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{manifest}: can't be read ({error!r}), so that its language model might be lost"
        raise DataError(f"{message}: choose another directory") from error


def check_lm(file: Path, phones: Sequence[str] | None) -> NgramModel:
    """Reads a language-model file that a bundle is to hold.

    Args:
        file: the file.
        phones: the names of the model's phones, blank first; None if it has none.

    Raises:
        LanguageModelError: it isn't a sound language-model file.
        DataError: its pronunciations are in other phones than the model's.
    """
    model = NgramModel.load(file)
    if phones is not None and model.phones is not None and model.phones.names != tuple(phones):
        raise DataError(
            f"language model {str(file)!r}: its {len(model.phones.names)} phones are not the model's "
            f"{len(phones)}; allowed: the same ones in the same order, or no pronunciations"
        )
    return model


def copy_to_bundle(model: NgramModel, bundle: Path, language: str) -> bool:
    """Copies a language-model file into a bundle, lists it, and says in the card what the card beside the file says.

    Args:
        model: as ``check_lm`` gives it.
        bundle: a directory with ``bundle.json`` and ``README.md``.
        language: names the file.

    Returns:
        Whether it is known what its text was.

    Raises:
        DataError: ``bundle.json`` can't be extended.
    """
    source, file = model.file.path, bundle / f"{language}.lm"
    shutil.copyfile(source, file)
    add_to_bundle(file, bundle)
    described = about(source)
    describe(bundle, file, counts_of(model.file.header.get("counts", ())), described)
    return bool(described)
