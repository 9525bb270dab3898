"""`provision completion`, and the answers that a shell gets when a user presses Tab. They are click's own, except for
bash: its words end at `:` and `=`, so that click would take `local:lab` for three words."""

import os
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class, split_arg_string

_VARIABLE = "_PROVISION_COMPLETE"
_BASH = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" type value
    local typed="${line##*[[:space:]=]}" before=""
    # readline has the user's word begin after its last colon, and puts there what it is given
    [[ $COMP_WORDBREAKS == *:* ]] && before="${typed%%"${typed##*:}"}"
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("${value#"$before"}") ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
        esac
    done < <(COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
# bash before 4.4 sorts what it is given
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""
_USE = {
    "bash": 'put this line into ~/.bashrc: eval "$(provision completion bash)"',
    "zsh": 'put this line into ~/.zshrc, below compinit: eval "$(provision completion zsh)"',
    "fish": "give this command once: provision completion fish > ~/.config/fish/completions/provision.fish",
}


class _Bash(BashComplete):
    """The line up to the cursor comes as the user typed it, in COMP_WORDS."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Skip click's check, which starts a bash to ask for its version: our script works with older versions, too."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        return words[1:], incomplete


add_completion_class(_Bash)


def answer(cli: click.Command, words: list[str]) -> None:
    """Print the completions for the shell, and end. An error prints nothing: it would stand in the user's line."""
    with suppress(Exception):
        cli.main(words, prog_name="provision", complete_var=_VARIABLE)
    raise click.exceptions.Exit(1)


@click.command(epilog="Then open a new shell, type `provision t` and press Tab.")
@click.argument("shell", type=click.Choice(list(_USE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, recipes, names and paths.

    \b
    bash: put this line into ~/.bashrc
        eval "$(provision completion bash)"
    zsh: put this line into ~/.zshrc, below compinit
        eval "$(provision completion zsh)"
    fish: give this command once
        provision completion fish > ~/.config/fish/completions/provision.fish

    It offers the machines that this laptop knows of: AWS is not asked.
    """
    maker: Any = get_completion_class(shell)
    script = maker(ctx.find_root().command, {}, "provision", _VARIABLE).source()
    click.echo(f"{script.rstrip()}\n# To use it, {_USE[shell]}")
