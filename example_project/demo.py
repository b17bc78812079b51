"""From a checkpoint to an installed wheel that needs no torch, in one command: `hatch run demo`.

Builds the plugin, the runtime and this example, installs the example where none of the tools that made it exist, and
runs it there. Needs the standard library only, uses uv where it is there and pip otherwise, and leaves nothing behind.
What is given on the command line goes to `digits`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent
REPOSITORY = EXAMPLE.parent
LOCAL = ("wheelweights", "hatch-wheelweights")
BUILD_TOOLS = ("torch", "safetensors", "isal", "hatchling", "hatch_wheelweights")
LOOK_AROUND = """
import importlib.metadata, importlib.util, sys
found = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
if found:
    sys.exit(f"clean environment: expected none of the build tools, found {', '.join(found)}")
there = {one.name: one.version for one in importlib.metadata.distributions()}
print(", ".join(f"{name} {there[name]}" for name in sorted(there) if name not in ("pip", "setuptools")))
"""


def main() -> None:
    """Run the demonstration; exit with 1 and the output of what failed."""
    with tempfile.TemporaryDirectory(prefix="wheelweights-demo-") as folder:
        work = Path(folder)
        uv = shutil.which("uv") or os.environ.get("HATCH_UV")
        tools = Uv(uv, work) if uv else Pip(work)
        steps = Steps()
        steps.note("tools", f"{type(tools).__name__.lower()}, Python {sys.version.split()[0]}")
        for project in (REPOSITORY / "runtime", REPOSITORY / "hatch_plugin", EXAMPLE):
            print(f"Building {project.name} ...", flush=True)
            tools.build(project)
            wheel = max(tools.wheelhouse.glob("*.whl"), key=lambda path: path.stat().st_mtime_ns)
            steps.done("built", wheel.name, wheel.stat().st_size)
        describe_weights(wheel, steps)
        print("Installing the example where nothing of that is ...", flush=True)
        programs = tools.install(wheel)
        steps.done("installed", run(programs / "python", "-c", LOOK_AROUND, *BUILD_TOOLS))
        steps.note("not there", ", ".join(BUILD_TOOLS))
        shown = run(programs / "digits", "--check", *sys.argv[1:])
        steps.done("ran", " ".join(["digits", *sys.argv[1:]]))
        print(f"\n{shown}\n\n{steps.table()}")


def describe_weights(wheel: Path, steps: Steps) -> None:
    """Note the checkpoint that went in and the record that came out."""
    checkpoint = EXAMPLE / "weights" / "digits.pt"
    steps.note("checkpoint", checkpoint.relative_to(REPOSITORY).as_posix(), checkpoint.stat().st_size)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".mpk"):
                steps.note("record", member.filename, member.file_size)
                steps.note("", "the same, deflated in the wheel", member.compress_size)


class Steps:
    """What was done, as a table of sizes and times."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self.since = time.perf_counter()

    def note(self, what: str, about: str, size: int | None = None, seconds: float | None = None) -> None:
        """Add a row."""
        shown_size = "" if size is None else f"{size:,} bytes"
        self.rows.append((what, about, shown_size, "" if seconds is None else f"{seconds:.2f} s"))

    def done(self, what: str, about: str, size: int | None = None) -> None:
        """Add a row for a step that ends now, with the time since the last one."""
        now = time.perf_counter()
        self.note(what, about, size, now - self.since)
        self.since = now

    def table(self) -> str:
        """Return the rows as columns, numbers to the right."""
        first, second, third, fourth = (max(map(len, column)) for column in zip(*self.rows, strict=True))
        line = f"{{:<{first}}}  {{:<{second}}}  {{:>{third}}}  {{:>{fourth}}}"
        return "\n".join(line.format(*row).rstrip() for row in self.rows)


class Uv:
    """Builds and installs with uv."""

    def __init__(self, program: str, work: Path) -> None:
        self.program = program
        self.wheelhouse = work / "wheelhouse"
        self.clean = work / "clean"
        # uv's cache may hold wheels of the same version, made from yesterday's sources.
        fresh = [argument for name in LOCAL for argument in ("--refresh-package", name)]
        self.options = ["--no-config", *fresh, "--find-links", str(self.wheelhouse)]

    def build(self, project: Path) -> None:
        """Build a wheel, in isolation, into the wheelhouse."""
        self.wheelhouse.mkdir(exist_ok=True)
        run(self.program, "build", "--wheel", "--no-sources", "--out-dir", self.wheelhouse, *self.options, project)

    def install(self, wheel: Path) -> Path:
        """Install a wheel and what it depends on into a new environment; return the folder of its programs."""
        run(self.program, "venv", "--no-project", "--no-config", "--python", sys.executable, self.clean)
        run(self.program, "pip", "install", "--python", programs_of(self.clean) / "python", *self.options, wheel)
        return programs_of(self.clean)


class Pip:
    """Builds and installs with venv and pip."""

    def __init__(self, work: Path) -> None:
        self.wheelhouse = work / "wheelhouse"
        self.clean = work / "clean"
        self.tools = work / "tools"
        venv.create(self.tools, with_pip=True)

    def build(self, project: Path) -> None:
        """Build a wheel, in isolation, into the wheelhouse."""
        self.wheelhouse.mkdir(exist_ok=True)
        self.pip(self.tools, "wheel", "--no-deps", "--wheel-dir", self.wheelhouse, project)

    def install(self, wheel: Path) -> Path:
        """Install a wheel and what it depends on into a new environment; return the folder of its programs."""
        venv.create(self.clean, with_pip=True)
        self.pip(self.clean, "install", wheel)
        return programs_of(self.clean)

    def pip(self, environment: Path, command: str, *arguments: str | Path) -> None:
        """Run pip in an environment, so that it finds the wheels built so far."""
        python = programs_of(environment) / "python"
        run(python, "-m", "pip", command, "--find-links", self.wheelhouse, *arguments)


def programs_of(environment: Path) -> Path:
    """Return the folder of an environment's programs."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def run(*command: str | Path) -> str:
    """Run a command away from the repository and return what it printed; exit with that when it fails."""
    done = subprocess.run(command, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\ndemo: `{Path(command[0]).name} {command[1]}` failed, see above")
    return done.stdout.strip("\n")


if __name__ == "__main__":
    main()
