"""What a fork of Caffe lets a prototxt say: its own caffe.proto, and the types of layers that it has.

Every fork calls its package `caffe`, so each gets a descriptor pool of its own. Where a schema comes from is for
`schema_source`; no schema is part of provision.
"""

import contextlib
import difflib
import importlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.errors import ImageError, MissingExtraError
from provision.net.graph import Layer
from provision.net.text import Field, Message, Word

_REGISTERED = re.compile(r"REGISTER_LAYER_C(?:LASS|REATOR)\(\s*(\w+)")
_BOOLS = frozenset(("true", "false", "True", "False", "t", "f"))


@dataclass(frozen=True)
class Schema:
    """A fork's schema: `descriptor` is the FileDescriptorProto of its caffe.proto, `types` the layers it knows,
    `origin` where that was had from."""

    stack: str
    origin: str
    descriptor: bytes
    types: frozenset[str]

    @cached_property
    def _messages(self) -> Any:
        pool = _extra("google.protobuf.descriptor_pool").DescriptorPool()
        pool.AddSerializedFile(self.descriptor)
        return pool

    def message(self, name: str) -> Any:
        """protobuf's descriptor of one of its messages: NetParameter, SolverParameter, …"""
        return self._messages.FindMessageTypeByName(f"caffe.{name}")

    def faults(self, tree: Message, name: str = "NetParameter") -> Iterator["Fault"]:
        """What this fork cannot read in `tree`, as a message of that name."""
        yield from _faults(tree, self.message(name), "")

    def knows(self, layer: Layer) -> bool:
        """Whether the fork has layers of that type; of old types its enum's words say so, too."""
        return layer.type in self.types


@dataclass(frozen=True)
class Fault:
    """A field that the fork cannot read. `path` leads to it, `near` are similar names in that message."""

    line: int
    path: str
    what: str
    near: tuple[str, ...] = ()


def compile_proto(text: str) -> bytes:
    """A caffe.proto as a serialized FileDescriptorProto. ImageError where protoc fails; MissingExtraError."""
    protoc = _extra("grpc_tools.protoc")
    descriptor_pb2 = _extra("google.protobuf.descriptor_pb2")
    with tempfile.TemporaryDirectory(prefix="provision-") as folder:
        source, target = Path(folder) / "caffe.proto", Path(folder) / "caffe.bin"
        source.write_text(text, encoding="utf-8")
        with contextlib.redirect_stdout(sys.stderr):
            code = protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={target}", "caffe.proto"])
        if code:
            raise ImageError("the source's caffe.proto cannot be compiled", "see what protoc says above")
        found = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    data: bytes = found.file[0].SerializeToString()
    return data


def registered(sources: Iterable[str]) -> frozenset[str]:
    """The types of layers that C++ files register."""
    return frozenset(name for text in sources for name in _REGISTERED.findall(text))


def like(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Known words that `word` may be a slip of: closer than words that merely end alike (…_param)."""
    return tuple(difflib.get_close_matches(word, list(known), n=2, cutoff=0.75))


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("a fork's schema needs protobuf", "pip install 'provision-spot[net]'") from error


def _faults(tree: Message, kind: Any, above: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for part in tree.fields:
        path = f"{above}.{part.name}" if above else part.name
        field = kind.fields_by_name.get(part.name)
        if field is None:
            near = like(part.name, kind.fields_by_name)
            yield Fault(part.line, path, f"{kind.name} has no field {part.name!r}", near)
        elif part.name in seen and not _repeated(field):
            yield Fault(part.line, path, f"{part.name} stands twice, and {kind.name} takes it once")
        elif field.message_type is not None and isinstance(part.value, Message):
            yield from _faults(part.value, field.message_type, path)
        elif wrong := _wrong(part, field):
            yield Fault(part.line, path, wrong, _near_value(part, field))
        seen.add(part.name)


def _repeated(field: Any) -> bool:
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)  # protobuf before 6.31


def _wrong(part: Field, field: Any) -> str:
    """What is wrong with a field's value; empty where it fits."""
    value = part.value
    if field.message_type is not None:
        return f"{part.name} is a message: write {part.name} {{ … }}"
    if isinstance(value, Message):
        return f"{part.name} is no message"
    if field.enum_type is not None:
        known = isinstance(value, Word) and value in field.enum_type.values_by_name
        return "" if known or isinstance(value, int) else f"{part.name} cannot be {value!r}"
    quoted = isinstance(value, str) and not isinstance(value, Word)
    if field.cpp_type == field.CPPTYPE_STRING:
        return "" if quoted else f'{part.name} is a text: write "{value}"'
    if field.cpp_type == field.CPPTYPE_BOOL:
        return (
            ""
            if value in (0, 1) or (value in _BOOLS and not quoted)
            else f"{part.name} is true or false, not {value!r}"
        )
    if isinstance(value, str):
        return "" if value in ("inf", "nan") and not quoted else f"{part.name} is a number, not {value!r}"
    real = field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE)
    return "" if real or isinstance(value, int) else f"{part.name} is a whole number, not {value}"


def _near_value(part: Field, field: Any) -> tuple[str, ...]:
    if field.enum_type is None or not isinstance(part.value, str):
        return ()
    return like(part.value, field.enum_type.values_by_name) or tuple(field.enum_type.values_by_name)[:8]
