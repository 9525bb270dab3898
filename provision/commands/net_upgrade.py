"""`provision net upgrade`: a net or solver of an earlier Caffe in today's words."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra.errors import UsageError
from provision import console
from provision.commands.options import NEW, PATH, dry_run_option

if TYPE_CHECKING:
    from provision.net.upgrade import Upgraded


@click.command()
@click.argument("file", type=PATH, metavar="IN")
@click.argument("out", type=NEW, metavar="OUT")
@click.option("--force", is_flag=True, help="write over OUT where it is there, IN itself included")
@dry_run_option
def upgrade(file: Path, out: Path, force: bool, dry_run: bool) -> None:
    """Write IN, a net or solver of an earlier Caffe, anew into OUT as today's Caffe reads it.

    It is what Caffe's upgrade_net_proto_text and upgrade_solver_proto_text make of it: `layers` of 2013 and 2014, input
    fields, transformations in data layers and learning rates of batch norms; of solvers solver_type. What a fork of
    Caffe added stays. Comments are not kept.
    """
    from provision.lint.net import is_solver
    from provision.net import encoding, text, upgrade

    message = text.read(file)
    solver = is_solver(message)
    found = upgrade.solver(message) if solver else upgrade.net(message)
    _free(file, out, force)
    as_it_is = encoding.text_of(file)
    written = text.write(found.message) if found.done else as_it_is
    _tell(file, found, text.comments(as_it_is))
    if dry_run:
        console.say(written.rstrip("\n"))
        console.say(f"would write {out}")
        return
    _write(out, written)
    console.say(f"written: {out}" + ("" if solver else f"\n  next: provision net lint {out}"))


def _free(file: Path, out: Path, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a folder", f"name a file in it: {out / file.name}")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} is no file that can be replaced", "name a new file")
    if out.exists() and not force:
        what = f"{out} is the file that is to be read" if out.samefile(file) else f"{out} is there already"
        raise UsageError(what, "name another file, or write over it with --force")


def _tell(file: Path, found: "Upgraded", comments: int) -> None:
    from provision.net import encoding

    if not found.done:
        strange = encoding.unlike_caffe(file.read_bytes())
        how = f"from {strange[1]} into plain UTF-8" if strange else "as it is"
        console.say(f"{file} is in today's words already: it is copied {how}")
        return
    console.say(f"{file}: {', '.join(found.done)} → today's words")
    for line, what in found.remarks:
        console.say(f"  {file}:{line}: {what}")
    if comments:
        many = f"{comments} comments are" if comments > 1 else "1 comment is"
        console.say(f"  {many} not kept")


def _write(out: Path, written: str) -> None:
    from provision.files.whole import atomic_file

    with atomic_file(out) as part:
        part.write_text(written, encoding="utf-8")
