"""`provision help`: a command's help, or the commands that do what a word says."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from infra.errors import UsageError
from provision import console
from provision.lazy import Lazy

# a word that users know from other programs: the words that our commands use
_ALSO = {
    "boot": "rent start", "connect": "ssh shell forward", "create": "make rent", "delete": "remove end",
    "destroy": "end remove delete", "download": "fetch bring", "evaluate": "score", "inference": "infer",
    "kill": "end stop", "launch": "rent start", "login": "ssh shell", "money": "cost price", "notebook": "forward",
    "password": "credentials", "predict": "infer", "price": "cost", "profile": "time", "remove": "end delete",
    "rsync": "copy sync", "scp": "copy", "shutdown": "end", "spend": "cost", "status": "list", "tensorboard": "forward",
    "terminate": "end", "upload": "copy put", "validate": "check lint",
}  # fmt: skip
# an ending of a word, and the fewest letters that must stand before it: `ion` ends `interruption`, not `region`
_ENDINGS = (
    ("ions", 5),
    ("ion", 5),
    ("ings", 3),
    ("ing", 3),
    ("ies", 3),
    ("es", 3),
    ("ed", 3),
    ("s", 3),
    ("e", 3),
    ("y", 3),
)
_NAME, _LINE, _OPTION, _TEXT = 10, 8, 5, 3  # how much a word counts, by where it stands
_SHOWN = 12


@dataclass
class _Entry:
    """A command, with the words by which it is found."""

    name: str
    line: str
    command: click.Command
    said: dict[str, int] = field(default_factory=dict)  # stem: the best place where it stands
    words: set[str] = field(default_factory=set)

    def put(self, text: str, worth: int) -> None:
        for word in _words(text):
            self.words.add(word)
            self.said[_stem(word)] = max(worth, self.said.get(_stem(word), 0))


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The completions for a shell: the commands of the group that the words so far name."""
    context = _named(ctx.find_root(), ctx.params.get("words") or ())
    known = context.command.list_commands(context) if context and isinstance(context.command, click.Group) else []
    return [name for name in known if name.startswith(incomplete)]


@click.command()
@click.argument("words", metavar="[COMMAND|WORD]...", nargs=-1, shell_complete=_names)
@click.option("--all", "every", is_flag=True, help="print all commands that were found, not only the best")
@click.pass_context
def help(ctx: click.Context, words: tuple[str, ...], every: bool) -> None:
    """Print what COMMAND does, or find the commands that have to do with all of WORD...

    The search looks at names, help texts and options: provision help gpu memory.
    """
    root = ctx.find_root()
    if not words:
        click.echo(root.get_help())
        return
    entries = list(_entries(root.command, root, "provision"))
    named = _named(root, words)
    found = [entry for entry in _search(entries, words) if entry.name != f"provision {' '.join(words)}"]
    if named:
        click.echo(named.get_help())
    elif not found:
        raise UsageError(f"no command has to do with {' '.join(words)!r}", _nearest(entries, words))
    if found:
        _show(found, 5 if named else _SHOWN, words, every, "\nSee also:" if named else "")


def _entries(command: click.Command, ctx: click.Context, path: str) -> Iterator[_Entry]:
    """All commands below a group, with their words."""
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        if below is None or below.hidden or below is help:  # its own help speaks of the words that others look for
            continue
        line = command.table[name][1] if isinstance(command, Lazy) else _first(below)
        context = click.Context(below, info_name=name, parent=ctx)
        yield _entry(f"{path} {name}", line, below, context)
        yield from _entries(below, context, f"{path} {name}")


def _first(command: click.Command) -> str:
    """The first sentence of its help, as a line of a list: it begins small and ends without its full stop."""
    text = " ".join((command.help or "").partition("\n\n")[0].split())
    text = textwrap.shorten(re.split(r"(?<=\w)[.;] |\.$", text)[0], 80, placeholder=" …")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _entry(name: str, line: str, command: click.Command, ctx: click.Context) -> _Entry:
    entry = _Entry(name, line, command)
    entry.put(command.help or "", _TEXT)
    for parameter in command.get_params(ctx):
        entry.put(" ".join([*parameter.opts, *parameter.secondary_opts]), _OPTION)
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
        entry.put(" ".join([parameter.metavar or "", *choices]), _TEXT)
        entry.put(getattr(parameter, "help", None) or "", _TEXT // 2)
    entry.put(line, _LINE)
    entry.put(name.partition(" ")[2], _NAME)
    return entry


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _stem(word: str) -> str:
    """What `train`, `trains`, `trained` and `trainings` share."""
    for ending, rest in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= rest:
            return word.removesuffix(ending)
    return word


def _search(entries: list[_Entry], words: tuple[str, ...]) -> list[_Entry]:
    """The commands that have to do with all of the words, best first; of equals, the order of `--help`."""
    asked = _words(" ".join(words))
    worth = {entry.name: [_worth(entry, word) for word in asked] for entry in entries}
    found = [entry for entry in entries if asked and all(worth[entry.name])]
    return sorted(found, key=lambda entry: -sum(worth[entry.name]))


def _worth(entry: _Entry, word: str) -> float:
    """How much the command has to do with the word. The word itself counts double, a synonym in the command's name or
    line one and a half times, a word that begins with it once."""
    stem = _stem(word)
    whole = 2 * entry.said.get(stem, 0)
    begins = max((worth for said, worth in entry.said.items() if len(stem) > 1 and said.startswith(stem)), default=0)
    alike = max((entry.said.get(_stem(other), 0) for other in _ALSO.get(word, "").split()), default=0)
    return max(whole, begins, 1.5 * alike if alike >= _LINE else 0)


def _named(root: click.Context, words: tuple[str, ...]) -> click.Context | None:
    """The command that the words name, one below the other."""
    context = root
    for word in words:
        command = context.command.get_command(context, word) if isinstance(context.command, click.Group) else None
        if command is None:
            return None
        context = click.Context(command, info_name=word, parent=context)
    return context


def _show(found: list[_Entry], limit: int, words: tuple[str, ...], every: bool, title: str) -> None:
    shown = found if every else found[:limit]
    width = max(len(entry.name) for entry in shown)
    if title:
        console.say(title)
    for entry in shown:
        options = " ".join(_options(entry, words))
        console.say(f"{entry.name.ljust(width)}  {entry.line}" + (f"  [{options}]" if options else ""))
    if len(found) > len(shown):
        console.say(f"and {len(found) - len(shown)} more: provision help --all {' '.join(words)}")


def _options(entry: _Entry, words: tuple[str, ...]) -> list[str]:
    """The command's options that have one of the words in their names."""
    asked = {_stem(word) for word in _words(" ".join(words))}
    options = [parameter for parameter in entry.command.params if isinstance(parameter, click.Option)]
    return [option.opts[0] for option in options if asked & {_stem(word) for word in _words(" ".join(option.opts))}]


def _nearest(entries: list[_Entry], words: tuple[str, ...]) -> str:
    """Words to try where no command has those given, or has them but not all at once."""
    import difflib

    known = sorted(set(_ALSO).union(*(entry.words for entry in entries)))
    strange = [word for word in _words(" ".join(words)) if not any(_worth(entry, word) for entry in entries)]
    close = [other for word in strange for other in difflib.get_close_matches(word, known, n=3, cutoff=0.7)]
    if close:
        return f"the nearest words: {', '.join(close)}"
    return "see all: provision --help" if strange or len(words) < 2 else f"try one of them: provision help {words[0]}"
