"""Counts for people, which never show what is unknown as nothing: 61.0 M, "at least 12", "?"."""

from provision.net.shapes import Inferred, Row


def short(count: int) -> str:
    """A count as people write it: 61.0 M."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def told(text: str, count: int, known: bool) -> str:
    """The text of a sum: "?" where nothing is known, "at least …" where something is not."""
    if known:
        return text
    return f"at least {text}" if count else "?"


def parameters(inferred: Inferred) -> str:
    """All learned numbers, and the kept ones where there are some: 25,557,096 parameters and 53,173 kept."""
    kept = f" and {inferred.kept:,} kept" if inferred.kept else ""
    return f"{told(f'{inferred.learned:,}', inferred.params, inferred.params_known)} parameters{kept}"


def macs(inferred: Inferred) -> str:
    return told(short(inferred.macs), inferred.macs, inferred.macs_known)


def of_rows(rows: list[Row]) -> str:
    """The parameters of some layers together; empty where they have none."""
    count, kept = sum(row.learned or 0 for row in rows), sum(row.kept for row in rows)
    known = all(row.counted is not None for row in rows)
    if known and not count and not kept:
        return ""
    more = f" + {kept:,} kept" if kept else ""
    return f"{told(f'{count:,}', count, known)} parameters{more}"
