"""Reads handwritten digits: a network trained with torch, run with numpy."""

from __future__ import annotations

from digits.model import Digits, load

__all__ = ["Digits", "load"]
