"""A group of commands whose modules are imported when they are called: `provision --help` stays quick."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Table = Mapping[str, tuple[str, str]]


class Lazy(click.Group):
    """A group made of a table: the command's name, the module that holds it (by the name with `_` for `-`), its line
    in the help. Only a command that is called is imported. `headings` are several tables, each under its heading."""

    def __init__(
        self, *words: Any, table: Table | None = None, headings: Mapping[str, Table] | None = None, **named: Any
    ) -> None:
        super().__init__(*words, **named)
        self.headings = headings or {"Commands": table or {}}
        self.table: Table = {name: row for rows in self.headings.values() for name, row in rows.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module = importlib.import_module(self.table[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.table), default=0)  # the help lines of all headings begin in one column
        for heading, rows in self.headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in rows.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Commands come from the table: click's own way would import all of them for each press of Tab."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, (_, text) in self.table.items()]
        fitting = [item for item in commands if item.value.startswith(incomplete)]
        return fitting + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args and args[0] not in self.table and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # a shell that completes words wants no message
            import difflib

            close = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)
