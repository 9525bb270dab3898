"""Tables in a log's own lines: a header with names, then numbers. Lightning's metrics.csv, Keras' CSVLogger, YOLO's
results.csv (padded with blanks), `provision logs --csv`; cells may be empty."""

import csv
import re
from collections.abc import Sequence

from provision.logs.metrics.names import meaning
from provision.logs.metrics.told import Told, of_pairs

_NAME = re.compile(r"(?!.*[\s=:][-+.]*\d)[A-Za-z_][\w .@/:()%-]{0,100}")
_LONGEST = 100  # characters of a name
_SIGNS = (",", "\t", ";")


class Table:
    """Reads the rows behind a header."""

    def __init__(self, header: str, sign: str) -> None:
        self._header, self._sign = header.strip(), sign
        self._names = cells(header, sign)

    def read(self, line: str) -> Told | None:
        """What a row tells; None where a line is none."""
        found = cells(line, self._sign)
        if len(found) != len(self._names) or line.strip() == self._header:
            return None
        pairs = []
        for name, cell in zip(self._names, found, strict=True):
            if not cell:
                continue
            try:
                pairs.append((name, float(cell)))
            except ValueError:
                continue
        told = of_pairs("csv", pairs, others=True)
        return told if told.values else None


def of_header(line: str) -> Table | None:
    """The table that a line begins; None where it is no header: names, one of a step, an epoch or a metric."""
    for sign in _SIGNS:
        names = cells(line, sign)
        if (
            len(names) < 2
            or max(map(len, names)) > _LONGEST
            or not all(map(_NAME.fullmatch, names))
            or len(set(names)) < len(names)
        ):
            continue
        if sum(meaning(name).kind not in ("other", "nothing") for name in names) >= 2:
            return Table(line, sign)
    return None


def cells(line: str, sign: str) -> Sequence[str]:
    """The cells of a row, without the blanks around them."""
    try:
        rows = list(csv.reader([line], delimiter=sign))
    except csv.Error:
        return ()
    return [cell.strip() for cell in rows[0]] if rows else ()
