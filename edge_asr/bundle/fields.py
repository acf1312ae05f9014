"""Reading JSON objects field by field: every complaint names the file and the field."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from edge_asr.errors import BundleError

_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "an integer"}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _NAMES.get(type(value), "a number")


class Fields:
    """A JSON object whose fields are taken out with the type they must have.

    Args:
        data: The object.
        file: The file it comes from, for messages.
        path: Where the object stands in the file, like ``encoder``; empty for the whole file.

    Raises:
        BundleError: From every method, if the field is missing or isn't what is asked for.

    Example:
        >>> Fields({"dim": 144}, "bundle.json", "encoder").integer("dim", minimum=1)
        144
        >>> Fields({"dim": 0}, "bundle.json", "encoder").integer("dim", minimum=1)
        Traceback (most recent call last):
        edge_asr.errors.BundleError: bundle.json: field 'encoder.dim': is 0, expected an integer ≥ 1
    """

    def __init__(self, data: dict[str, Any], file: str, path: str = "") -> None:
        self._data = data
        self.file = file
        self._path = path

    @classmethod
    def read(cls, path: Path, file: str) -> Fields:
        """Reads a JSON file that must hold an object; ``file`` is its name in messages."""
        try:
            data = json.loads(path.read_bytes())
            json.dumps(data, ensure_ascii=False).encode()
        except FileNotFoundError:
            raise BundleError("missing", file=file) from None
        except OSError as error:
            raise BundleError(f"can't be read: {error.strerror or error}", file=file) from error
        except UnicodeEncodeError as error:  # json takes escapes of half a character
            half = error.object[error.start]
            raise BundleError(f"holds {half!r}, half a surrogate pair; expected Unicode text", file=file) from error
        except (ValueError, RecursionError) as error:
            raise BundleError(f"isn't valid JSON: {error}", file=file) from error
        if not isinstance(data, dict):
            raise BundleError(f"holds {_kind(data)}, expected a JSON object", file=file)
        return cls(data, file)

    def name(self, key: str) -> str:
        """Gives a field's path inside the file."""
        return f"{self._path}.{key}" if self._path else key

    def fail(self, key: str, message: str) -> NoReturn:
        """Raises the error for a field."""
        raise BundleError(message, file=self.file, field=self.name(key))

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def value(self, key: str) -> Any:
        """Takes a field of any type."""
        if key not in self._data:
            self.fail(key, "missing")
        return self._data[key]

    def text(self, key: str) -> str:
        """Takes a text that isn't empty."""
        value = self.value(key)
        if not isinstance(value, str) or not value:
            self.fail(key, f"is {value!r}, expected a text that isn't empty")
        return value

    def integer(self, key: str, *, minimum: int = 0, maximum: int | None = None) -> int:
        """Takes an integer that isn't less than ``minimum``, nor more than ``maximum``."""
        return self._integer(key, self.value(key), minimum, maximum)

    def _integer(self, key: str, value: object, minimum: int, maximum: int | None) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.fail(key, f"is {value!r}, expected an integer ≥ {minimum}")
        if maximum is not None and value > maximum:
            self.fail(key, f"is {value!r}, expected an integer ≤ {maximum}")
        return value

    def _number(self, key: str, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            self.fail(key, f"is {value!r}, expected a finite number")
        return float(value)

    def number(self, key: str) -> float:
        """Takes a finite number."""
        return self._number(key, self.value(key))

    def mapping(self, key: str) -> Fields:
        """Takes an object."""
        return self._mapping(key, self.value(key))

    def _mapping(self, key: str, value: object) -> Fields:
        if not isinstance(value, dict):
            self.fail(key, f"is {_kind(value)}, expected an object")
        return Fields(value, self.file, self.name(key))

    def facts(self, key: str) -> dict[str, Any]:
        """Takes an object with anything in it that JSON allows; Python's reader takes NaN and infinity besides."""
        self.mapping(key)  # complains if it isn't one
        found: dict[str, Any] = self.value(key)
        try:
            json.dumps(found, allow_nan=False)
        except ValueError:
            self.fail(key, "holds NaN or infinity, expected finite numbers")
        return found

    def items(self, key: str) -> list[Any]:
        """Takes a list."""
        value = self.value(key)
        if not isinstance(value, list):
            self.fail(key, f"is {_kind(value)}, expected a list")
        return value

    def mappings(self, key: str) -> list[Fields]:
        """Takes a list of objects."""
        return [self._mapping(f"{key}[{i}]", value) for i, value in enumerate(self.items(key))]

    def integers(self, key: str, *, minimum: int = 0, maximum: int | None = None) -> tuple[int, ...]:
        """Takes a list of integers that aren't less than ``minimum``, nor more than ``maximum``."""
        return tuple(self._integer(f"{key}[{i}]", value, minimum, maximum) for i, value in enumerate(self.items(key)))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Takes a list of finite numbers."""
        return tuple(self._number(f"{key}[{i}]", value) for i, value in enumerate(self.items(key)))

    def path(self, key: str) -> str:
        """Takes the path of a file inside the bundle: relative, with ``/``, not leading out of it."""
        return self._bundle_path(key, self.value(key))

    def paths(self, key: str) -> tuple[str, ...]:
        """Takes a list of paths of files inside the bundle."""
        return tuple(self._bundle_path(f"{key}[{i}]", value) for i, value in enumerate(self.items(key)))

    def _bundle_path(self, key: str, value: object) -> str:
        if not is_bundle_path(value):
            self.fail(key, f"is {value!r}, expected a relative path inside the bundle")
        return value

    def expect(self, key: str, expected: str | int, advice: str) -> None:
        """Checks that a field has the one value that this version reads."""
        value = self.value(key)
        if value != expected or type(value) is not type(expected):
            self.fail(key, f"is {value!r}, expected {expected!r}; {advice}")


def is_bundle_path(value: object) -> TypeGuard[str]:
    """Tells whether a value is a relative path with ``/`` that stays inside the bundle."""
    if not isinstance(value, str) or not value or "\\" in value or "\0" in value or ":" in value:
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))
