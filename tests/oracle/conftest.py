"""What stands here compares with torch itself, and is left out, visibly, where torch is not installed."""

from __future__ import annotations

import importlib.util
from typing import Any

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if collect_ignore_glob:
        terminalreporter.write_line(
            "left out: tests/oracle, because torch is not installed (hatch run oracle:test has it)"
        )
