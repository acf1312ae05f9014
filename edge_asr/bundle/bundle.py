"""A bundle on disk: loaded, and every file in it checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge_asr.bundle.fields import Fields
from edge_asr.bundle.policy import PolicySpec
from edge_asr.bundle.schema import BundleSpec, FileSpec
from edge_asr.errors import BundleError, OptionError

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle.

    Attributes:
        path: The directory.
        spec: What ``bundle.json`` says.
        policy: What ``policy.json`` says; None if there is none (only fixed exits then).

    Example:
        >>> bundle = Bundle.load("models/en-tiny")  # doctest: +SKIP
        >>> bundle.spec.encoder.exits  # doctest: +SKIP
        6
    """

    path: Path
    spec: BundleSpec
    policy: PolicySpec | None

    @classmethod
    def load(cls, path: str | Path, *, use_policy: bool = True) -> Bundle:
        """Reads and checks a bundle: both JSON files, and size and SHA-256 of each file (each is read once).

        Args:
            path: The directory.
            use_policy: Read ``policy.json``; calibration doesn't, as one for other graphs may lie there.

        Raises:
            BundleError: If anything is missing, cut off, changed, foreign or of another version. It names the
                file and, in a JSON file, the field.
        """
        path = Path(path)
        if not path.is_dir():
            raise BundleError("isn't a directory; a bundle is one, with bundle.json in it", file=path)
        spec = BundleSpec.parse(Fields.read(path / "bundle.json", str(path / "bundle.json")))
        for name, file in spec.files.items():
            _check(path / name, file)
        policy_file = path / "policy.json"
        policy = None
        if use_policy and policy_file.exists():
            policy = PolicySpec.parse(Fields.read(policy_file, str(policy_file)), spec)
        return cls(path, spec, policy)

    def precision(self, name: str | None = None) -> str:
        """Gives the precision to run: the named one, or the bundle's default for None.

        Raises:
            OptionError: If the bundle lacks it.
        """
        if name is None:
            return self.spec.default_precision
        if name not in self.spec.segments:
            raise OptionError(f"precision={name!r}: bundle {self.spec.name!r} has {', '.join(self.spec.segments)}")
        return name

    def graphs(self, precision: str) -> dict[str, Path]:
        """Gives the graph files by name, in running order: ``frontend``, ``segment1``, ``segment2`` …"""
        graphs = {"frontend": self.path / self.spec.frontend.file}
        for number, file in enumerate(self.spec.segments[precision], start=1):
            graphs[f"segment{number}"] = self.path / file
        return graphs

    @property
    def tokens_file(self) -> Path:
        """The token table's file."""
        return self.path / self.spec.tokens.file

    @property
    def phones_file(self) -> Path | None:
        """The table of phones, if exits give those too."""
        return None if self.spec.phones is None else self.path / self.spec.phones.file

    @property
    def lm_file(self) -> Path | None:
        """The language model's file, if the bundle has one."""
        return None if self.spec.lm is None else self.path / self.spec.lm


def sha256_of(path: Path) -> str:
    """Computes a file's SHA-256, reading it in blocks.

    Raises:
        OSError: If it can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check(path: Path, expected: FileSpec) -> None:
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            what = "cut off" if size < expected.bytes else "too long"
            raise BundleError(f"{what}: {size} bytes, expected {expected.bytes}", file=path, field="bytes")
        digest = sha256_of(path)
    except FileNotFoundError:
        raise BundleError("missing", file=path) from None
    except OSError as error:
        raise BundleError(f"can't be read: {error.strerror or error}", file=path) from error
    if digest != expected.sha256:
        raise BundleError(f"is damaged: checksum {digest}, expected {expected.sha256}", file=path, field="sha256")
