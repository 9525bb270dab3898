"""TensorBoard's event files as lines of JSON: `{"wall_time": 1.5, "step": 10, "loss": 0.25}`. No TensorFlow is needed.

A file is records (`TFRecord`): the length of the data (8 bytes, little end first), a checksum of the length (4), the
data, a checksum of those (4); https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. The
data are messages of protobuf (event.proto, summary.proto, tensor.proto of TensorFlow); of those, scalars are read in
both of their forms: `simple_value`, and since TensorFlow 2 a tensor with one number. Pictures, histograms and graphs
are passed over.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

HEADER = 12  # bytes
_LONGEST = 1 << 20  # bytes of a record that may be scalars
_POLYNOMIAL = 0x82F63B78  # CRC-32C
_FLOAT, _DOUBLE = 1, 2  # DT_FLOAT, DT_DOUBLE
_NUMBERS = {5: ("<f", 4), 6: ("<d", 8)}  # fields of a tensor that have one number
_Field = tuple[int, int, bytes, int]  # number, wire type, bytes, whole number


def begins(head: bytes) -> bool:
    """Whether these are the first bytes of a file of records: the checksum of the first length is right."""
    return len(head) >= HEADER and struct.unpack("<I", head[8:HEADER])[0] == _masked(head[:8])


def files(folder: Path) -> list[Path]:
    """The event files of a folder, the oldest first (their names have the time); none of what is no folder."""
    return sorted(folder.glob("*.tfevents.*")) if folder.is_dir() else []


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The scalars of an event file, a line of JSON for each event that has any. What is cut off or damaged ends it."""
    for record in _records(pieces):
        try:
            made = _line(record)
        except (struct.error, IndexError, ValueError):
            continue
        if made:
            yield made


def _records(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each record that is not too long."""
    source, have = iter(pieces), bytearray()
    while _fill(have, source, HEADER):
        if not begins(bytes(have[:HEADER])):
            return
        (length,) = struct.unpack("<Q", have[:8])
        if length <= _LONGEST:
            if not _fill(have, source, HEADER + length + 4):
                return
            yield bytes(have[HEADER : HEADER + length])
            del have[: HEADER + length + 4]
        elif not _skip(have, source, HEADER + length + 4):
            return


def _fill(have: bytearray, source: Iterator[bytes], size: int) -> bool:
    """Have so many bytes; whether there were as many."""
    while len(have) < size:
        piece = next(source, None)
        if piece is None:
            return False
        have += piece
    return True


def _skip(have: bytearray, source: Iterator[bytes], size: int) -> bool:
    """Pass over so many bytes, without keeping them."""
    while len(have) < size:
        size -= len(have)
        have.clear()
        piece = next(source, None)
        if piece is None:
            return False
        have += piece
    del have[:size]
    return True


def _line(record: bytes) -> bytes:
    """An event as a line; empty where it has no scalar."""
    wall, step, values = 0.0, 0, dict[str, float]()
    for number, _, data, whole in _fields(record):
        if number == 1:
            (wall,) = struct.unpack("<d", data)
        elif number == 2:
            step = whole - (1 << 64) if whole >= 1 << 63 else whole
        elif number == 5:
            values.update(value for field, _, data, _ in _fields(data) if field == 1 and (value := _scalar(data)))
    if not values:
        return b""
    return json.dumps({"wall_time": wall, "step": step, **values}).encode() + b"\n"


def _scalar(message: bytes) -> tuple[str, float] | None:
    """Name and number of a value of a summary; None of one that is no scalar."""
    tag, found = "", None
    for number, _, data, _ in _fields(message):
        if number == 1:
            tag = data.decode(errors="replace")
        elif number == 2:
            (found,) = struct.unpack("<f", data)
        elif number == 8:
            found = _one(data)
    return None if found is None or not tag else (tag, found)


def _one(tensor: bytes) -> float | None:
    """The number of a tensor that has one alone."""
    kind, content, found = 0, b"", list[float]()
    for number, _, data, whole in _fields(tensor):
        if number == 1:
            kind = whole
        elif number == 4:
            content = data
        elif number in _NUMBERS:
            form, size = _NUMBERS[number]
            found += [struct.unpack(form, data[at : at + size])[0] for at in range(0, len(data), size)]
    if content and kind in (_FLOAT, _DOUBLE):
        form, size = ("<f", 4) if kind == _FLOAT else ("<d", 8)
        found = [struct.unpack(form, content)[0]] if len(content) == size else []
    return found[0] if len(found) == 1 else None


def _fields(message: bytes) -> Iterator[_Field]:
    """The fields of a message of protobuf. ValueError and IndexError where it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire, whole, size = key >> 3, key & 7, 0, 0
        if wire == 0:
            whole, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _varint(message, at)
        else:
            raise ValueError(wire)
        if at + size > len(message):
            raise ValueError(at)
        yield number, wire, message[at : at + size], whole
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of as many bytes as it needs, and where the next one begins."""
    made, shift = 0, 0
    while True:
        byte = message[at]
        made |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return made, at
        if shift > 63:
            raise ValueError(shift)


def _masked(data: bytes) -> int:
    """The checksum of records: CRC-32C, turned by 15 bits, with a constant added."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
