"""`manage.py hookbox completion`: completion of subcommands, channels and users in a shell."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from django.db import Error

from .. import client
from ..exceptions import HookboxError
from ..models import ChannelPolicy
from .base import DONE, Options, Subcommand

#: Subcommands whose first or second word is a channel or a user.
KINDS: dict[str, tuple[str, ...]] = {
    "publish": ("channel",),
    "tail": ("channel",),
    "who": ("channel",),
    "kick": ("user",),
    "erase": ("user",),
    "explain": ("user", "channel"),
}

_BASH = """
_djhookbox() {
    local words=("${COMP_WORDS[@]:0:COMP_CWORD+1}") start=1
    [[ "${words[1]}" == *manage.py ]] && start=2
    if [[ "${words[start]}" != hookbox ]] || (( COMP_CWORD <= start )); then
        return 1
    fi
    local candidates
    candidates=$("${words[@]:0:start}" hookbox complete -- "${words[@]:start+1}" 2>/dev/null)
    local IFS=$'\\n'
    COMPREPLY=($candidates)
    [[ "${COMPREPLY[0]}" == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _djhookbox manage.py ./manage.py python python3
"""

SCRIPTS = {
    "bash": _BASH,
    "zsh": "autoload -U +X bashcompinit && bashcompinit\ncompopt() { :; }\n" + _BASH,
    "fish": """
function __djhookbox
    set -l words (commandline -opc)
    set -l at (contains -i hookbox $words); or return
    set -l after $words[(math $at + 1)..] (commandline -ct)
    $words[1..(math $at - 1)] hookbox complete -- $after 2>/dev/null
end
for program in manage.py ./manage.py python python3
    complete -c $program -n "contains hookbox (commandline -opc)" -f -a "(__djhookbox)"
end
""",
}


class Completion(Subcommand):
    """Prints a script for a shell."""

    name = "completion"
    help = (
        "Prints a script that completes subcommands, live channels and connected users. In bash "
        'or zsh: eval "$(python manage.py hookbox completion bash)"; in fish: python manage.py '
        "hookbox completion fish | source."
    )
    json = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the name of the shell."""
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("shell", choices=list(SCRIPTS))

    def run(self, options: Options) -> int:
        """Print the script."""
        self.say(SCRIPTS[options["shell"]].strip())
        return DONE


def candidates(words: Sequence[str], subcommands: Iterable[str]) -> list[str]:
    """Return what the last word may become; never raise.

    Args:
        words: What follows `hookbox` on the command line; the last one is incomplete.
        subcommands: The names of the subcommands.

    """
    *before, last = words or [""]
    if not before:
        return sorted(name for name in subcommands if name.startswith(last))
    if last.startswith("-"):
        return []
    position = sum(1 for word in before[1:] if not word.startswith("-"))
    kinds = KINDS.get(before[0], ())
    if before[0] == "tail":
        position = 0  # it takes any number of channels
    if position >= len(kinds):
        return []
    find: Callable[[str], set[str]] = _channels if kinds[position] == "channel" else _users
    try:
        return sorted(find(last))
    except (HookboxError, Error):
        return []  # pressing Tab must not print an error


def _channels(beginning: str) -> set[str]:
    """Return live channels, and those that policies name without a placeholder."""
    found = {
        name
        for name in ChannelPolicy.objects.enabled().values_list("pattern", flat=True)
        if "<" not in name and name.startswith(beginning)
    }
    with suppress(HookboxError):  # if the process is down, the policies are still known
        found |= {each.name for each in client.list_channels(beginning).channels}
    return found


def _users(beginning: str) -> set[str]:
    return {
        each.user
        for each in client.list_connections().connections
        if each.user.startswith(beginning) and not each.user.startswith(" ")
    }
