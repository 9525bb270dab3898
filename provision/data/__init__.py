"""Data preparation: public data in, the folder that a training reads out.

A preparer is a function of the folder to make. It makes the folder whole or not at all, and a second call finds it
there. Recipes name preparers by the keys of `PREPARERS`; the modules are imported at the call, for their libraries
are an extra.
"""

from collections.abc import Callable
from pathlib import Path

Preparer = Callable[[Path], Path]


def _digits(target: Path) -> Path:
    from provision.data.digits import prepare

    return prepare(target)


def _crfrnn(target: Path) -> Path:
    from provision.data.crfrnn import prepare_voc2012

    return prepare_voc2012(target)


PREPARERS: dict[str, Preparer] = {"crfrnn": _crfrnn, "digits": _digits}
