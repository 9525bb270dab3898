"""Names and numbers in a line of words: `loss=0.5`, `Loss: 0.1 (0.2)`, `Accuracy: 9838/10000`, `loss 2.3`."""

import re
from collections.abc import Iterator

from provision.logs.metrics.names import meaning

LOOKED_AT = 4096  # characters of a line
NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,20})?|\d{1,40}\.?\d{0,40}(?:[eE][-+]?\d{1,4})?"
    r"|\.\d{1,40}(?:[eE][-+]?\d{1,4})?|nan|inf(?:inity)?)"
)
_PAIR = re.compile(
    r"(?<![\w.@/])(?P<name>[A-Za-z_][\w@./()-]{0,99}(?:'s)?(?: [A-Za-z][\w@./-]{0,40}){0,3})[\"']?"
    rf"(?P<sign> {{0,20}}[=:] {{0,40}}|[ \t]{{1,40}})[\"']?(?P<value>{NUMBER})"
    rf"(?:/(?P<of>\d{{1,15}}(?:\.\d{{1,15}})?))?%?(?: {{0,4}}\( {{0,12}}(?P<mean>{NUMBER}) {{0,4}}\))?"
    r"(?![:.]?\w)(?!/)",
    re.IGNORECASE,
)
_QUALIFIERS = {
    "train", "training", "val", "valid", "validation", "test", "eval", "dev", "avg", "average", "mean", "total", "lm",
    "learning", "grad", "gradient", "top", "box", "cls", "obj", "mask", "dice", "f1", "l1", "l2", "kl", "cross",
}  # fmt: skip


def pairs_of(line: str, *, means: bool = False) -> Iterator[tuple[str, float]]:
    """Names and numbers of a line. What no `=` or `:` joins is a pair only where the name is one of a metric. `means`:
    of `0.1 (0.2)` the second counts, which is the mean of a whole validation; else the first."""
    for found in _PAIR.finditer(line):
        name = _name(found["name"].split(" "))
        kind = meaning(name).kind
        if not found["sign"].strip() and kind not in ("metric", "rate"):
            continue
        text = found["mean"] if means and found["mean"] is not None else found["value"]
        value = float(text.replace(",", ""))
        if found["of"] is not None:
            if kind != "metric" or not float(found["of"]):
                continue
            value /= float(found["of"])
        yield name, value


def _name(words: list[str]) -> str:
    """The words before a number that belong to its name: the last, and those before it that tell which one it is."""
    begin = len(words) - 1
    if begin > 0 and words[begin].lower() == "value":
        begin -= 1
    while begin > 0 and (words[begin - 1].lower() in _QUALIFIERS or words[begin - 1].endswith("'s")):
        begin -= 1
    return " ".join(words[begin:])
