"""JSON that cannot be understood in two ways."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from wheelweights.errors import backticked

__all__ = ["parsed"]


def parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for malformed text, for a key that an object has twice (readers differ in which they take), for a
    number that is infinite or none, and for text nested deeper than Python goes.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (RecursionError, MemoryError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {backticked(twice)} is there twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON has")
