"""Values of a parsed configuration, checked against the annotations of the dataclass that takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from edge_asr.errors import OptionError

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def checked(cls: type[Any], values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Values as the fields of a dataclass want them; names that it lacks are left as they are.

    A number may be a text: YAML 1.1 reads ``1e-3`` as one, and JSON makes texts of a mapping's keys. Lists become
    tuples.

    Args:
        cls: a dataclass of booleans, numbers, texts, and tuples and mappings of them.
        values: from YAML or JSON.
        where: the option that the fields belong to, for messages.

    Raises:
        OptionError: a value is of another type.

    Example:
        >>> checked(Phase, {"max_seconds": "1.7e1", "depths": {"2": 1}}, "phases")  # doctest: +SKIP
        {'max_seconds': 17.0, 'depths': {2: 1.0}}
    """
    hints = get_type_hints(cls)
    start = f"{where}." if where else ""
    return {k: _value(v, hints[k], start + k) if k in hints else v for k, v in values.items()}


def _value(value: Any, hint: Any, name: str) -> Any:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(value, name, "a list")
        hints = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        if len(value) != len(hints):
            raise _wrong(value, name, f"a list of {len(hints)}")
        return tuple(_value(v, h, name) for v, h in zip(value, hints, strict=True))
    if kind is dict:
        if not isinstance(value, dict):
            raise _wrong(value, name, "a mapping")
        return {_value(k, parts[0], name): _value(v, parts[1], name) for k, v in value.items()}
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)) and hint is not float:
        return value
    if hint not in (int, float) or isinstance(value, bool):
        raise _wrong(value, name, _NAMES[hint])
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (hint is int and not number.is_integer()):
        raise _wrong(value, name, _NAMES[hint])
    return hint(number)


def _wrong(value: object, name: str, allowed: str) -> OptionError:
    return OptionError(f"training option {name} is {value!r}; allowed: {allowed}")
