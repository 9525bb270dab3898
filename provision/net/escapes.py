"""What stands between the quotes of a text: protobuf's escapes, read and written."""

import re

_ESCAPE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"
    rb"|(?P<other>.))",
    re.DOTALL,
)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_ITSELF = (b"\\", b"'", b'"', b"?")


def unquoted(text: str) -> str:
    """The text between the quotes; \\303 and \\xc3 are bytes of UTF-8. ValueError with an escape that means nothing,
    as in a path of Windows."""

    def plain(match: re.Match[bytes]) -> bytes:
        octal, hexa, other = match["octal"], match["hex"], match["other"]
        if code := match["short"] or match["long"]:
            return chr(int(code, 16)).encode("utf-8", "replace")
        if octal or hexa:
            return bytes([int(octal, 8) & 255 if octal else int(hexa, 16)])
        if other not in _PLAIN and other not in _ITSELF:
            raise ValueError(match[0].decode("utf-8", "replace"))
        return _PLAIN.get(other, other)

    return _ESCAPE.sub(plain, text[1:-1].encode()).decode("utf-8", "replace")


def quoted(text: str) -> str:
    """The text in quotes, with what cannot be printed escaped."""
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    if sign.isprintable():
        return sign
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign) or "".join(f"\\{byte:03o}" for byte in sign.encode())
