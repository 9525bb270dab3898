"""Protobuf's text format (prototxt) as a tree with line numbers, and back.

No schema is asked: a fork's own fields are read like any other, and what they may be is for `provision.net.schema`.
Repeated fields stay in the order of the file; `[1, 2]` is two fields. Comments are left out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from infra.errors import UsageError
from provision.net import encoding, escapes

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)|(?P<line>\n)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>(?:-[ \t]*)?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?|(?:inf(?:inity)?|nan)f?\b))
    |(?P<word>[A-Za-z_]\w*)|(?P<mark>[{}<>\[\]:;,])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_MENDS = (
    *((quote, "write plain quotes: \"…\"") for quote in "\u201c\u201d\u201e\u2018\u2019"),
    ("=", "write : in its place"),
    ("//", "a comment begins with #"), ("/*", "a comment begins with #"), ("%", "a comment begins with #"),
    ("+", "leave the + out"), ("```", "leave the lines of ``` out"), ("\u00a0", "write a plain blank"),
    ("\u3000", "write a plain blank"), ("\uff1a", "write a plain : in its place"),
)  # fmt: skip


class Word(str):
    """A word without quotes: an enum's value, true or false."""


Value = Union[str, Word, int, float, "Message"]


@dataclass(frozen=True)
class Field:
    """One field where it stands; `line` and `column` count from 1."""

    name: str
    value: Value
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Message:
    """Fields in the order of the file. `line` is where the message begins."""

    fields: tuple[Field, ...] = ()
    line: int = field(default=1, compare=False)

    def all(self, name: str) -> list[Value]:
        """Every value of that field."""
        return [field.value for field in self.fields if field.name == name]

    def one(self, name: str, default: Value | None = None) -> Value | None:
        """The field's value; the last one where it stands several times, as protobuf takes it."""
        found = self.all(name)
        return found[-1] if found else default

    def get(self, path: str, default: Value | None = None) -> Value | None:
        """A value further down: `get("convolution_param.num_output")`."""
        at: Value | None = self
        for name in path.split("."):
            at = at.one(name) if isinstance(at, Message) else None
        return default if at is None else at

    def messages(self, name: str) -> list["Message"]:
        """Those values of that field that are messages."""
        return [value for value in self.all(name) if isinstance(value, Message)]

    def sub(self, name: str) -> "Message":
        """The message in that field; an empty one where there is none."""
        found = self.messages(name)
        return found[-1] if found else Message((), self.line)

    def texts(self, name: str) -> list[str]:
        """Those values of that field that are texts or words."""
        return [str(value) for value in self.all(name) if isinstance(value, str)]

    def text(self, name: str, default: str = "") -> str:
        found = self.texts(name)
        return found[-1] if found else default

    def ints(self, name: str) -> list[int]:
        """Those values of that field that are whole numbers."""
        return [value for value in self.all(name) if isinstance(value, int)]

    def whole(self, name: str, default: int = 0) -> int:
        found = self.ints(name)
        return found[-1] if found else default

    def flag(self, name: str, default: bool = False) -> bool:
        """The field's value as a bool; true, True, t and 1 mean True."""
        value = self.one(name)
        return default if value is None else str(value) in ("true", "True", "t", "1")

    def line_of(self, name: str) -> int:
        """The line of the field's first appearance; the message's where it has none."""
        return next((field.line for field in self.fields if field.name == name), self.line)


def read(path: Path) -> Message:
    """The file as a tree. UsageError with file, line and column where it is no prototxt."""
    return parse(encoding.text_of(path), str(path))


def parse(text: str, where: str = "prototxt") -> Message:
    """The text as a tree; `where` is what errors call it. UsageError with line and column."""
    try:
        return _Reader(list(_tokens(text, where)), where).top()
    except RecursionError as error:
        raise UsageError(
            f"{where}: its messages are nested too deep", "count the braces: a net has a few levels of them"
        ) from error


def comments(text: str) -> int:
    """How many comments the text has, which `parse` leaves out."""
    at, found = 0, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        found += match is not None and match[0].startswith("#")
        at = match.end() if match else at + 1
    return found


def write(message: Message) -> str:
    """The tree as text, two spaces a level: `parse` gives the same tree again."""
    return "".join(_lines(message, ""))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int
    column: int


def _fault(where: str, line: int, column: int, what: str, mend: str = "") -> UsageError:
    return UsageError(f"{where}:{line}:{column}: {what}", mend)


def _tokens(text: str, where: str) -> Iterator[_Token]:
    at, line, begin = 0, 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        column = at - begin + 1
        if match is None:
            raise _fault(where, line, column, *_stray(text, at))
        kind = str(match.lastgroup)
        at = match.end()
        if kind == "number" and (glued := _glued(match[0], text[at : at + 20])):
            raise _fault(where, line, column, *glued)
        if kind == "line":
            line, begin = line + 1, at
        elif kind != "space":
            yield _Token(kind, match[0], line, column)
    yield _Token("end", "", line, at - begin + 1)


def _glued(number: str, rest: str) -> tuple[str, str] | None:
    """What protobuf refuses of a number: a word without a blank before it, a leading 0 in what is not octal."""
    if (word := re.match(r"[A-Za-z_]\w*", rest)) and not number.endswith(("inf", "nan", "infinity")):
        return f"{number}{word[0]} is no number", f"write a blank between {number} and {word[0]}"
    if re.match(r"-?0\d", number) and not re.fullmatch(r"-?0[0-7]+", number):
        return f"{number} begins with 0, as an octal number does, and is none", "leave the first 0 out"
    return None


def _stray(text: str, at: int) -> tuple[str, str]:
    if placeholder := re.match(r"\$\{?\w+\}?|\{\{.*?\}\}", text[at:]):
        return f"{placeholder[0]} is left unresolved", "write the value there"
    if text[at] in "\"'":
        return "a text that does not end on its line", f"close it with {text[at]}"
    mend = next((mend for sign, mend in _MENDS if text.startswith(sign, at)), "")
    return f"{text[at]!r} has no meaning here", mend


class _Reader:
    """Recursive descent; `at` is the next token."""

    def __init__(self, tokens: Sequence[_Token], where: str) -> None:
        self.tokens, self.where, self.at = tokens, where, 0

    def top(self) -> Message:
        return Message(tuple(self.fields("")), 1)

    def fields(self, closing: str, opened: _Token | None = None) -> list[Field]:
        found: list[Field] = []
        while True:
            token = self.next()
            if token.text == closing and token.kind in ("mark", "end"):
                return found
            if token.kind == "end" and opened:
                raise self.fault(token, f"{opened.text} of line {opened.line} is not closed", f"write {closing}")
            if token.kind != "word" and not token.text.isidentifier():  # a field may be called inf
                raise self.fault(token, f"a field's name is expected, not {token.text!r}", self.hint(token))
            found += self.field(token)
            if self.peek().text in (";", ","):
                self.next()

    def field(self, name: _Token) -> list[Field]:
        colon = self.peek().text == ":"
        if colon:
            self.next()
        token = self.next()
        if token.text in _CLOSING and token.kind == "mark":
            values: list[tuple[Value, _Token]] = [(self.message(token), token)]
        elif token.text == "[" and token.kind == "mark" and (colon or self.peek().text in _CLOSING):
            values = self.list()
        elif colon:
            values = [(self.scalar(token), token)]
        else:
            raise self.fault(token, f"{name.text} is followed by {token.text or 'the end'!r}", "write : or { after it")
        return [Field(name.text, value, name.line, name.column) for value, _ in values]

    def message(self, opened: _Token) -> Message:
        return Message(tuple(self.fields(_CLOSING[opened.text], opened)), opened.line)

    def list(self) -> "list[tuple[Value, _Token]]":
        found: list[tuple[Value, _Token]] = []
        while (token := self.next()).text != "]" or found:
            value = self.message(token) if token.text in _CLOSING else self.scalar(token)
            found.append((value, token))
            if (behind := self.next()).text == "]":
                break
            if behind.text != ",":
                raise self.fault(
                    behind, f"{behind.text or 'the end'!r} in a list", "write , between two values, ] at its end"
                )
        return found

    def scalar(self, token: _Token) -> Value:
        if token.kind == "string":
            text = self.text(token)
            while self.peek().kind == "string":
                text += self.text(self.next())
            return text
        if token.kind == "number":
            return _number(re.sub(r"\s", "", token.text))
        if token.kind == "word":
            return Word(token.text)
        raise self.fault(token, f"a value is expected, not {token.text or 'the end'!r}")

    def text(self, token: _Token) -> str:
        try:
            return escapes.unquoted(token.text)
        except ValueError as error:
            mend = "write / for each \\ of a path"
            raise self.fault(token, f"{error} has no meaning in {token.text}", mend) from error

    def hint(self, token: _Token) -> str:
        before = self.tokens[max(self.at - 3, 0) : self.at - 1]
        if token.kind == "number" and [one.kind for one in before] == ["number", "mark"] and before[1].text == ",":
            return f"a decimal point is written as a point: {before[0].text}.{token.text}"
        return "there is a closing bracket too many" if token.text in ("}", ">") else ""

    def fault(self, token: _Token, what: str, mend: str = "") -> UsageError:
        return _fault(self.where, token.line, token.column, what, mend)

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def next(self) -> _Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token


def _number(text: str) -> int | float:
    if "x" in text.lower():
        return int(text, 16)
    if re.fullmatch(r"-?\d+", text):
        octal = len(text.lstrip("-")) > 1 and text.lstrip("-")[0] == "0"
        return int(text, 8 if octal else 10)
    return float(text if text.endswith("inf") else text.rstrip("fF"))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for part in message.fields:
        if isinstance(part.value, Message):
            yield f"{indent}{part.name} {{\n"
            yield from _lines(part.value, indent + "  ")
            yield f"{indent}}}\n"
        else:
            yield f"{indent}{part.name}: {_scalar(part.value)}\n"


def _scalar(value: str | int | float) -> str:
    if isinstance(value, Word) or not isinstance(value, str):
        return str(value)
    return escapes.quoted(value)
