"""Rules of the house: which part may import which, how long a file may be, and what no file may name."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edge_asr"
CODE = ("edge_asr", "export", "scripts", "tests")
MAX_LINES = 400

# Each part of the package and the parts that it may import (docs/architecture.md). Parts of one tier may
# import each other; test_no_cycles keeps that one way too.
FIRST_TIER = {"audio", "bundle", "decoding", "exits"}
DEVICE_SIDE: dict[str, set[str]] = {
    "errors": set(),
    **{part: {"errors"} | FIRST_TIER - {part} for part in sorted(FIRST_TIER)},
    "runtime": {"errors", *FIRST_TIER},
    "evaluation": {"errors", "runtime", *FIRST_TIER},
    "cli": {"errors", "runtime", "evaluation", *FIRST_TIER},
}
TRAINING_SIDE: dict[str, set[str]] = {
    "model": {"errors"},
    "training": {"errors", "model"},
}
PARTS = DEVICE_SIDE | TRAINING_SIDE

# What the plain install brings, and what the device side may never import, not even inside a function.
PLAIN_INSTALL = {"numpy", "onnxruntime", "soundfile", "soxr", "typer", "rich", "jiwer"}
ONLY_IN_CLI = {"typer", "rich"}
NEVER_ON_DEVICE = {"torch", "torchaudio", "lhotse", "sentencepiece", "safetensors", "tensorboard", "yaml"}
NEVER_ON_DEVICE |= {"kaldi_native_fbank", "onnx", "onnxscript"}

SKIPPED_FOLDERS = re.compile(r"\.git|\.venv.*|.*_cache|\.hypothesis|__pycache__|build|dist|.*\.egg-info")
LOCAL_FOLDERS = {ROOT / name for name in ("data", "runs", "checkpoints", "logs")}  # as in .gitignore


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name, and whether the import runs when the file is imported."""

    file: Path
    line: int
    module: str
    at_import: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def part(self) -> str | None:
        """The part of edge_asr that is imported; `__init__` for the package itself; None for others."""
        names = self.module.split(".")
        if names[0] != "edge_asr":
            return None
        return names[1] if len(names) > 1 and names[1] in PARTS else "__init__"

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def imports(file: Path) -> Iterator[Import]:
    """All imports of a file, those inside functions and under TYPE_CHECKING included."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    later = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_type_checking(node)
        for child in ast.walk(node)
    }
    package = list(file.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, node not in later)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}", node not in later)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def files(*folders: str) -> list[Path]:
    """The Python files below some folders of the repository."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def part_files(part: str) -> list[Path]:
    return [PACKAGE / f"{part}.py"] if part == "errors" else files(f"edge_asr/{part}")


def complaints(found: Iterator[Import]) -> str:
    return "\n".join(map(str, found))


def test_every_part_is_known() -> None:
    there = {entry.stem for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert there - {"__init__"} <= set(PARTS)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_imports_point_one_way(part: str) -> None:
    allowed = PARTS[part] | {part}
    if part == "cli":
        allowed |= {"__init__"}  # the version
    wrong = (i for file in part_files(part) for i in imports(file) if i.part is not None and i.part not in allowed)
    assert not (text := complaints(wrong)), text


def test_the_package_itself_imports_the_device_side_alone() -> None:
    allowed = {"__init__", "errors", "runtime", *FIRST_TIER}
    wrong = (i for i in imports(PACKAGE / "__init__.py") if i.part is not None and i.part not in allowed)
    assert not (text := complaints(wrong)), text


def test_no_cycles_between_parts() -> None:
    arrows = {
        part: {i.part for file in part_files(part) for i in imports(file) if i.part} - {part, "__init__"}
        for part in PARTS
    }
    while free := [part for part, used in arrows.items() if not used]:
        for part in free:
            del arrows[part]
        arrows = {part: used - set(free) for part, used in arrows.items()}
    assert not arrows, f"parts that import each other in a circle: {arrows}"


def test_export_leaves_the_command_line_and_the_training_data_alone() -> None:
    wrong = (
        i
        for file in files("export")
        for i in imports(file)
        if i.part == "cli" or i.module.startswith("edge_asr.training.data")
    )
    assert not (text := complaints(wrong)), text


def test_the_package_never_imports_what_is_outside_it() -> None:
    wrong = (i for file in files("edge_asr") for i in imports(file) if i.top in {"export", "scripts", "tests"})
    assert not (text := complaints(wrong)), text


@pytest.mark.parametrize("part", sorted(DEVICE_SIDE))
def test_device_side_never_reaches_the_training_tools(part: str) -> None:
    wrong = (i for file in part_files(part) for i in imports(file) if i.top in NEVER_ON_DEVICE)
    assert not (text := complaints(wrong)), text


@pytest.mark.parametrize("part", sorted(DEVICE_SIDE))
def test_device_side_imports_with_the_plain_install(part: str) -> None:
    allowed = {"edge_asr", *sys.stdlib_module_names, *PLAIN_INSTALL}
    if part != "cli":
        allowed -= ONLY_IN_CLI
    wrong = (i for file in part_files(part) for i in imports(file) if i.at_import and i.top not in allowed)
    assert not (text := complaints(wrong)), text


def test_files_are_short() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files(*CODE)}
    long = [f"{file.relative_to(ROOT)}: {n} lines" for file, n in lengths.items() if n > MAX_LINES]
    assert not long, "\n".join(long)


def text_files(folder: Path = ROOT) -> Iterator[tuple[Path, str]]:
    for entry in sorted(folder.iterdir()):
        if SKIPPED_FOLDERS.fullmatch(entry.name):  # also a file: .git in a worktree
            continue
        if entry.is_dir():
            if entry not in LOCAL_FOLDERS:
                yield from text_files(entry)
        elif b"\0" not in (content := entry.read_bytes()):
            yield entry, content.decode("utf-8", errors="replace")


REGISTRIES = ("pypi.", "pythonhosted.", "npmjs.", "pytorch.")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("an absolute path of one machine", r"(?<![\w.~-])/" + r"work\b"),
        ("a package registry's host", "|".join(rf"\b{re.escape(name)}org" for name in REGISTRIES)),
    ],
)
def test_no_file_names(what: str, pattern: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, f"{what}:\n" + "\n".join(found)


def test_the_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    result = run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"edge_asr", "edge_asr-0.1.0.dist-info"}
    shipped = {str(f.relative_to(ROOT)) for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts}
    assert shipped <= set(names)
