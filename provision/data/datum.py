"""Caffe's records and means as bytes: the messages `Datum` and `BlobProto` of caffe.proto, by hand.

Both have a handful of fields, so they are read and written here without protobuf: a message is a tag (field number
<< 3 | wire type) and a value for each field, in the order of their numbers. Field numbers are those of caffe.proto in
https://github.com/BVLC/caffe, the same in all forks.
"""

from dataclasses import dataclass

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_UNSIGNED = (1 << 64) - 1
_LONGEST = 70  # bits of a varint: ten bytes


@dataclass(frozen=True)
class Datum:
    """One picture and its class.

    `data` is channels x height x width bytes, or a picture file (JPEG, PNG) where `encoded`; `floats` are values of 4
    bytes each (little-endian), as few databases have in place of `data`: Caffe looks at them where `data` is empty. A
    dimension that is 0 and an `encoded` that is None are not in the message: Caffe's own tools leave out the dimensions
    of encoded pictures, and write `encoded: false` with raw ones.
    """

    channels: int
    height: int
    width: int
    data: bytes
    label: int = 0
    encoded: bool | None = None
    floats: bytes = b""

    @property
    def in_floats(self) -> bool:
        """Whether Caffe takes the floats."""
        return bool(self.floats) and not self.data

    def encode(self) -> bytes:
        """The message. The label is written even where it is 0, as Caffe's own tools do."""
        parts = [
            _tag(number, _VARINT) + varint(value)
            for number, value in ((1, self.channels), (2, self.height), (3, self.width))
            if value
        ]
        parts += [_tag(4, _BYTES), varint(len(self.data)), self.data]
        parts.append(_tag(5, _VARINT) + varint(self.label & _UNSIGNED))
        parts += [_tag(6, _FOUR) + self.floats[at : at + 4] for at in range(0, len(self.floats), 4)]
        if self.encoded is not None:
            parts.append(_tag(7, _VARINT) + varint(self.encoded))
        return b"".join(parts)


def decode(message: bytes) -> Datum:
    """A record's picture; of SSD's `AnnotatedDatum` (its field 1 is a Datum) the one in it. ValueError for others."""
    found: dict[int, int | bytes] = {1: 0, 2: 0, 3: 0, 4: b"", 5: 0}
    floats: list[bytes] = []
    for number, value in fields(message):
        if number == 6 and isinstance(value, bytes):
            floats.append(value)
        else:
            found[number] = value
    if isinstance(found[1], bytes):
        return decode(found[1])
    channels, height, width, label = (_number(found[number]) for number in (1, 2, 3, 5))
    data, encoded = found[4], found.get(7)
    if not isinstance(data, bytes):
        raise ValueError("not a Datum")
    return Datum(channels, height, width, data, label, None if encoded is None else bool(encoded), b"".join(floats))


def boxes(message: bytes) -> dict[int, int] | None:
    """How many boxes of each label SSD's `AnnotatedDatum` holds; None for other records, and for what is no message."""
    try:
        found = fields(message)
        if not found or found[0][0] != 1 or not isinstance(found[0][1], bytes):
            return None
        groups = [fields(value) for number, value in found if number == 3 and isinstance(value, bytes)]
    except ValueError:
        return None
    counts: dict[int, int] = {}
    for group in groups:
        label = next((value for number, value in group if number == 1 and isinstance(value, int)), 0)
        counts[label] = counts.get(label, 0) + sum(number == 2 for number, _ in group)
    return counts


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Number and value of each field, in order; a value is a number, or bytes. ValueError where it is no message."""
    found: list[tuple[int, int | bytes]] = []
    at, end = 0, len(message)
    while at < end:
        tag, at = _read(message, at)
        kind = tag & 7
        if not tag >> 3:
            raise ValueError("not a protobuf message")
        if kind == _VARINT:
            value, at = _read(message, at)
            found.append((tag >> 3, value))
            continue
        if kind == _BYTES:
            size, at = _read(message, at)
        elif kind in (_FOUR, _EIGHT):
            size = 4 if kind == _FOUR else 8
        else:
            raise ValueError("not a protobuf message")
        if at + size > end:
            raise ValueError("a protobuf message that is cut off")
        found.append((tag >> 3, message[at : at + size]))
        at += size
    return found


def encode_blob(values: bytes, channels: int, height: int, width: int) -> bytes:
    """A `BlobProto` of 1 x channels x height x width floats (4 bytes each, little-endian), as mean files are."""
    parts = [
        _tag(number, _VARINT) + varint(value) for number, value in ((1, 1), (2, channels), (3, height), (4, width))
    ]
    return b"".join([*parts, _tag(5, _BYTES), varint(len(values)), values])


def decode_blob(message: bytes) -> tuple[tuple[int, int, int], bytes]:
    """(channels, height, width) and the floats of a mean file. ValueError where it is none."""
    found = dict(fields(message))
    shape = tuple(_number(found.get(number, 0)) for number in (2, 3, 4))
    values = found.get(5, b"")
    if not isinstance(values, bytes) or len(values) != 4 * shape[0] * shape[1] * shape[2]:
        raise ValueError("not a mean file")
    return (shape[0], shape[1], shape[2]), values


def varint(value: int) -> bytes:
    """A non-negative number, seven bits a byte, lowest first (protobuf's base 128 varint)."""
    if value < 0:
        raise ValueError(f"{value} is negative")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift >= _LONGEST:  # else a white picture without a message around it would take hours
                raise ValueError("not a protobuf message")
    except IndexError:
        raise ValueError("a protobuf message that is cut off") from None


def _number(value: int | bytes) -> int:
    """A field of type int32: negative ones are written as 64 bits."""
    if not isinstance(value, int):
        raise ValueError("not a Datum")
    return value - (1 << 64) if value >> 63 else value


def _tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)
