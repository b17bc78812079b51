"""`wheelweights completion`, and what a shell completes: files, words, keys of a checkpoint, installed packages.

What an argument or an option takes, its help says: a metavar FILE is a file, one like `keep|half` lists words. So
nothing is said twice, and a new option is completed as its help says.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final

import click

from hatch_wheelweights.cli.ending import say
from hatch_wheelweights.cli.saying import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from click.shell_completion import CompletionItem

    Complete: TypeAlias = Callable[[click.Context, str], Iterable[str]]

__all__ = ["completed", "completion"]

_VARIABLE: Final = "_WHEELWEIGHTS_COMPLETE"  # which click asks for
_FILES: Final = ("FILE", "OUT", "PATH")
_SAFE: Final = re.compile(r"[\w.\-]+")  # what no shell splits and no terminal obeys


@click.command(
    epilog=examples(
        """eval "$(wheelweights completion bash)"    in ~/.bashrc""",
        """eval "$(wheelweights completion zsh)"     in ~/.zshrc, below compinit""",
        """wheelweights completion fish | source     in ~/.config/fish/config.fish""",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, files, words, keys and packages."""
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    script = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    say(script(ctx.find_root().command, {}, "wheelweights", _VARIABLE).source().strip())


def completed(command: click.Command) -> click.Command:
    """Return a command whose arguments, which are files, and options are completed as their help says.

    That is all options: those that the help leaves out are the ones that nobody remembers.
    """
    found = copy.copy(command)
    found.params = [copy.copy(param) for param in command.params]
    for param in found.params:
        if isinstance(param, click.Option):
            param.hidden = False
        if param.type is click.STRING:
            param.type = _Completed(_completer(param))
    return found


def _completer(param: click.Parameter) -> Complete | None:
    """Return what completes a parameter; None for a file, which the shell itself knows best."""
    metavar = param.metavar or ""
    if isinstance(param, click.Argument) or metavar in _FILES:
        return None
    if metavar == "KEY":
        return lambda ctx, _: _keys(ctx, str(param.name))
    if metavar == "NAME":
        return lambda _ctx, _begun: _packages()
    return lambda _ctx, _begun: [word for word in metavar.split("|") if word.islower()]


class _Completed(click.types.StringParamType):
    """A text, with what a shell completes it to."""

    def __init__(self, complete: Complete | None) -> None:
        self._complete = complete

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return what the text can become."""
        from click.shell_completion import CompletionItem

        from wheelweights.errors import WheelweightsError

        if self._complete is None:
            return [CompletionItem(incomplete, type="file")]
        try:
            words = self._complete(ctx, incomplete)
        except (WheelweightsError, OSError):  # nobody wants a message while typing
            return []
        return [CompletionItem(word) for word in words if word.startswith(incomplete) and _SAFE.fullmatch(word)]


def _keys(ctx: click.Context, option: str) -> Iterable[str]:
    """Return the keys of dicts in the checkpoint that was named before, below the keys that were given before."""
    from hatch_wheelweights.opening import open_checkpoint
    from wheelweights.plain import is_mapping

    files = ctx.args  # as long as an option waits for its value
    if not files:
        return []
    with open_checkpoint(files[1] if option.startswith("b_") and len(files) > 1 else files[0]) as checkpoint:
        found: Any = checkpoint.tree
        for key in ctx.params.get(option) or ():
            found = found.get(key) if is_mapping(found) else None
        held = dict(found) if is_mapping(found) else {}
    return [key for key, value in held.items() if isinstance(key, str) and is_mapping(value)]


def _packages() -> Iterable[str]:
    from hatch_wheelweights.looking.installed import packages_with_records

    return packages_with_records()
