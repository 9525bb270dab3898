"""The word of `--metrics`: which lines tell numbers, where looking does not find them."""

import re
from dataclasses import dataclass

from infra.border import did_you_mean
from infra.errors import UsageError

FORMATS = (
    "auto",
    "caffe",
    "detectron",
    "json",
    "dict",
    "key-value",
    "csv",
    "tensorboard",
    "tqdm",
    "keras",
    "darknet",
    "columns",
)
_REGEX = "regex:"


@dataclass(frozen=True)
class Asked:
    """The form of the lines that count ("" where it is to be found), or an expression with named groups."""

    form: str = ""
    pattern: re.Pattern[str] | None = None

    @property
    def known(self) -> bool:
        """Whether lines of Caffe and Detectron alone count."""
        return self.form in ("caffe", "detectron")


AUTO = Asked()


def asked(word: str) -> Asked:
    """What a word of the command line asks for. UsageError for one that says nothing."""
    if word.startswith(_REGEX):
        return Asked("regex", _compiled(word.removeprefix(_REGEX)))
    if word not in FORMATS:
        raise UsageError(
            f"there is no format {word!r} of metrics",
            f"{did_you_mean(word, FORMATS)}, or an expression: --metrics 'regex:loss=(?P<loss>\\S+)'",
        )
    return AUTO if word in ("auto", "tensorboard") else Asked(word)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"the expression of --metrics is none: {error}", "see docs/logs.md for examples") from error
    if not pattern.groupindex:
        raise UsageError(
            "the expression of --metrics names no number",
            "a named group for each: --metrics 'regex:step (?P<step>\\d+) loss (?P<loss>\\S+)'",
        )
    return pattern
