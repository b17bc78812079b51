"""How a damaged record is reported."""

from __future__ import annotations

from typing import Final

from wheelweights.errors import RecordError

__all__ = ["REINSTALL", "damaged", "malformed", "truncated"]

REINSTALL: Final = "Reinstall the package that ships it; if it is yours, rebuild the wheel."


def damaged(
    fact: str, key: str | None = None, *, path: str | None = None, expected: object = None, found: object = None
) -> RecordError:
    """Return the error for a record that is not as it was written."""
    return RecordError(fact, path=path, key=key, expected=expected, found=found, remedy=REINSTALL)


def malformed(reason: str, key: str | None = None, *, path: str | None = None) -> RecordError:
    """Return the error for a record that differs from the layout."""
    return damaged(f"malformed record: {reason}", key, path=path)


def truncated(expected: int, found: int, where: str) -> RecordError:
    """Return the error for a record that ends too early; both numbers are bytes."""
    fact = f"truncated: expected at least {expected:,} bytes ({where}), found {found:,}"
    return damaged(fact, expected=expected, found=found)
