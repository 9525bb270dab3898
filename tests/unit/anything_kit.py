"""Anything that can be typed or saved, for test_anything: words, files, and what a command made of them."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import strategies as st

from infra.aws import session as aws_session
from infra.errors import ProvisionError
from provision.cli import cli

Words = list[str]
NUMBERS = ("-1", "0", "1", "7", "9" * 25, "-" + "9" * 400, "1e999", "nan", "inf", "-inf", "0x10", "1_0", "٣", "1.5", "")
ODD = (
    "", " ", "-", "--", "---", "--x", ".", "..", "../x", "x/../../y", "a/b", "*", "lab*", "?", "[a-", "{}",
    "{{ x }}", "{% x", "%s", "%", "=", "a=", "=b", "a=b", "a=b=c", ":", "a:", ":b", "a:b", "@", "a@b", "://",
    "s3://", "s3:///", "s3://b", "s3://b/p", "ssh://", "ssh://[", "ssh://a:b", "ssh://u@h:99999999", "http://[",
    "$HOME", "`x`", "\\", "\n", "a\nb", "\t", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\udc80",
    "ß", "İ", "名前", "💥", "a" * 300, "a" * 5000, "[bold]x[/]", "#", "~", "null", "digits", "crfrnn", "ssd-voc",
    "detectron", "caffe-classify", "my", "caffe", "caffe-debian", "cuda", "caffe:cpu-debian11", "caffe:x@y",
    "caffe:cuda11.8-cudnn8.7-debian12@T4", "V100", "sm_70", "11.8", "R535", "p3.8xlarge", "p3*", "p3.", "us-east-1",
    "local", "local:", "local:../x", "aws", "aws:x", "30m", "1d", "9" * 400 + "d", "data:200", "data:0", "8888",
    "1:2", "0:0", "x.prototxt", "x.log", "net.prototxt", "solver.prototxt", "list.txt", "folder", "there",
    "coco.json", "lock.yaml", "clothing", "2007,2012", "trainval", "104,117,123", "data:1,3,2,2",
    "data:" + "9" * 30, "batch=1", "batch=" + "9" * 400, "batch=nan", "A=B", "train-loss", "total",
)  # fmt: skip


# these work in the test's folder alone, or ask the world first: they are called without --dry-run, too
WORK_HERE = [
    "boxes", "check", "coco", "coco-check", "crfrnn", "digits", "get", "lmdb", "lmdb-show", "mean", "new", "sizes",
    "visual-genome", "voc-aug", "voc-labels", "voc-lists",
]  # fmt: skip


class Asked(BaseException):
    """The command was right so far, and would now ask the world: no error of ours."""


@pytest.fixture(autouse=True)
def no_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What leaves this process ends the command, and no `except Exception` keeps it from that."""

    def refuse(*_: object, **__: object) -> None:
        raise Asked

    for place, name in (
        (socket.socket, "connect"), (socket, "getaddrinfo"), (subprocess, "Popen"), (os, "system"), (os, "execv"),
        (os, "execvp"), (os, "execvpe"), (signal, "pause"), (aws_session, "_session"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr(threading, "excepthook", lambda about: None)  # one that asked, among those of `together`
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield


def codes() -> set[int]:
    """The exit codes of the table; 0, and 2 of click's."""
    kinds = [ProvisionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {0, 2, *(kind.exit_code for kind in kinds if kind is not ProvisionError)}


CODES = codes()


def outcome(call: Callable[[], Any]) -> tuple[int, str]:
    """The exit code of what the call did, and its message: any other exception than a user's error goes through."""
    with _streams():
        try:
            code = call()
        except Asked:
            return 0, ""
        except click.ClickException as error:
            return error.exit_code, error.format_message()
        except ProvisionError as error:
            return error.exit_code, f"{error.what}\n{error.mend}"
    return (code if isinstance(code, int) else 0), ""


def run(words: Words) -> tuple[int, str]:
    """As `provision WORDS`, below the last resort of provision.cli.run."""
    return outcome(lambda: cli.main(list(words), prog_name="provision", standalone_mode=False))


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Streams as provision.cli.run makes them of those of a terminal in UTF-8."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"I0101 00:00:00 a log\n"), "utf-8")
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def right(words: Words, answer: tuple[int, str]) -> None:
    """One message and an exit code of the table."""
    code, message = answer
    assert code in CODES, (words, code)
    assert "Traceback" not in message, (words, message)
    if message:
        assert message.strip(), words
        assert len(message) < 20_000, words


def leaves() -> list[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    found: list[tuple[str, click.Command]] = []

    def walk(command: click.Command, words: str) -> None:
        if not isinstance(command, click.Group):
            found.append((words, command))
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), f"{words} {name}".strip())  # type: ignore[arg-type]

    walk(cli, "")
    return found


def tame(word: str) -> str:
    """The word where it leads to no file outside of the test's folder: commands without --dry-run may write there."""
    return word.replace("..", ". .").lstrip("/").replace("=/", "=").replace(":/", ":") if "://" not in word else word


def words() -> st.SearchStrategy[str]:
    """Any argument that a shell can hand over: no NUL, and bytes that are no UTF-8 as Python shows them."""
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    raw = st.binary(max_size=8).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    return st.one_of(st.sampled_from(ODD), st.sampled_from(NUMBERS), text, raw).map(tame)


def value(param: click.Parameter) -> st.SearchStrategy[str]:
    """What may be given for a parameter: as a rule something that its type takes."""
    kind = param.type
    if isinstance(kind, click.Choice):
        return st.one_of(st.sampled_from([str(one) for one in kind.choices]), words())
    if isinstance(kind, click.IntRange | click.FloatRange) or kind in (click.INT, click.FLOAT):
        return st.one_of(st.sampled_from(NUMBERS), st.integers().map(str), st.floats().map(str), words())
    return words()


@st.composite
def calls(draw: st.DrawFn, name: str, command: click.Command) -> Words:
    """The command with some of its options and most of its arguments."""
    given = [*name.split(), *draw(some_options(command))]
    if draw(st.booleans()):
        given.append("--")
    for argument in (one for one in command.params if isinstance(one, click.Argument)):
        count = draw(st.integers(0, 3)) if argument.nargs == -1 else 1 if draw(st.integers(0, 9)) else 0
        given += [draw(value(argument)) for _ in range(count)]
    return given


@st.composite
def some_options(draw: st.DrawFn, command: click.Command) -> Words:
    """Some of the command's options, nearly always those that it needs, and --dry-run where it has that."""
    given: Words = []
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in ("help", "dry_run")]
    for option in draw(st.lists(st.sampled_from(options), max_size=4)) if options else []:
        given.append(draw(st.sampled_from([*option.opts, *option.secondary_opts])))
        if not option.is_flag:
            given += [draw(value(option)) for _ in range(option.nargs)]
    for option in options:
        if option.required and option.opts[0] not in given and draw(st.integers(0, 9)):
            given += [option.opts[0], draw(value(option))]
    dry_run = any(option.name == "dry_run" for option in command.params)
    if dry_run and (command.name not in WORK_HERE or draw(st.booleans())):
        given.append("--dry-run")
    return given


PIECES = [
    b"\0", b"\xff\xfe", b"\t", b"{", b"}", b"[", b"]", b":", b"'", b'"', b"*a", b"&a ", b"!!int x", b"- ",
    b"9" * 30, b"-1", b"1e999", b"NaN", b"null", b"true", b"~", b"{{", b"}}", b"{%", b"\r", b"\xef\xbb\xbf",
    b"\\ud800", b"../", b"/", b"\n", b" ", b"#", b"<", b"0x", b"2001-99-99", b"", b"<<: ", b"? ",
]  # fmt: skip
INSTEAD = [
    b"", b"\0", b"[]", b"- a", b"a", b"{}", b"null", b"\xff" * 9, b"[" * 3000, b"{" * 3000, b"a: " * 2000,
    b"a { " * 2000, b"1: 2", b"? [a]\n: b", b"a: &a [*a]", b"\n" * 5000, b"9" * 5000,
]  # fmt: skip


def mutated(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are anything, or nearly the good ones: cut, doubled, with other bytes in the middle."""
    piece = st.one_of(st.binary(max_size=6), st.sampled_from(PIECES))

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        data = good
        for _ in range(draw(st.integers(1, 3))):
            at, length = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 0, 1, 3, 10, len(data)]))
            data = data[:at] + draw(piece) + data[at + length :]
        return data

    swapped = st.sampled_from([good, good * 2, good[: len(good) // 2], *INSTEAD])
    return st.one_of(changed(), swapped, st.binary(max_size=60))
