"""Rules that look at a file's text, whatever is built of it: both styles in one, what is left unresolved."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from provision.lint.case import Case, Rule
from provision.lint.finding import Finding
from provision.net import encoding
from provision.net.text import Message, Word

_PLACEHOLDER = re.compile(r"\$\{\w+\}|\{\{.*?\}\}|\$\(\w+\)")


def encodings(files: Iterable[Path]) -> Iterator[Finding]:
    """Files whose text is read here and not by Caffe (TextFormat takes UTF-8 without a mark)."""
    for file in files:
        if strange := encoding.unlike_caffe(file.read_bytes()):
            why = "Caffe refuses the whole file: Error parsing text-format"
            mend = f"save it as UTF-8 without a mark: provision net upgrade {file} NEW.prototxt"
            yield Finding("error", str(file), f"the file is {strange[1]}", mend, "encoding", 1, why, "encoding")


def styles(case: Case) -> Iterator[Finding]:
    """`layer` and `layers` in one file: Caffe upgrades the old ones and drops the new (util/upgrade_proto.cpp)."""
    old, new = (next((layer for layer in case.every if layer.old == is_old), None) for is_old in (True, False))
    if old and new:
        why = (
            f"Caffe reads one style in a file: those of the other are lost (the other style begins at line {new.line})"
        )
        yield case.finding(
            "error", "style", old.line, "`layers` and `layer` are mixed", why, "write `layer` everywhere"
        )


def placeholders(case: Case) -> Iterator[Finding]:
    for line, name, value in _texts(case.net):
        if found := _PLACEHOLDER.search(value):
            yield case.finding("error", "placeholder", line, f"{name}: {found[0]} is left unresolved",
                               "Caffe would look for a file of that very name", "write the value there")  # fmt: skip


def _texts(message: Message) -> Iterator[tuple[int, str, str]]:
    for field in message.fields:
        if isinstance(field.value, Message):
            yield from _texts(field.value)
        elif isinstance(field.value, str) and not isinstance(field.value, Word):
            yield field.line, field.name, field.value


RULES: tuple[Rule, ...] = (styles, placeholders)
