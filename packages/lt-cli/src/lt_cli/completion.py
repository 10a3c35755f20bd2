"""Completion scripts with the commands and options written in, so that a press of TAB starts no program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SCRIPT = """\
_lt_cli() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" options=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        options="{commands}"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$options" -- "$word"))
}}
complete -o default -F _lt_cli lt-cli
"""
SHELLS = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


def completion_script(shell: str, commands: Sequence[str], options: Mapping[str, Sequence[str]]) -> str:
    """What to `eval` in the shell; files are completed where an option does not begin."""
    cases = [f'            {command}) options="{" ".join(sorted(names))}" ;;' for command, names in options.items()]
    return SHELLS[shell] + SCRIPT.format(commands=" ".join(commands), cases="\n".join(cases))
