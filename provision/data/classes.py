"""Lists of classes: which names stand for which class. Ours are files beside this one."""

from collections.abc import Mapping
from pathlib import Path

from infra.border import load_yaml
from infra.disk import is_file
from infra.errors import UsageError
from provision.data import usertext

OURS = {"clothing": Path(__file__).with_name("clothing.yaml")}

_TEXTS = (".txt", ".names", ".prototxt")

Classes = Mapping[str, tuple[str, ...]]


def load(name: str) -> Classes:
    """A list of ours by its name, or a YAML file of yours: each class and a list of the names that it goes by.

    UsageError for an unknown name, and for a file without a class.
    """
    path = OURS.get(name, Path(name))
    if not is_file(path):
        raise UsageError(
            f"there is no list of classes {name!r}", f"give a YAML file, or one of ours: {', '.join(OURS)}"
        )
    found = load_yaml(path, dict[str, tuple[str, ...] | None])
    classes = {key: tuple(names or ()) for key, names in found.items()}
    if not classes:
        raise UsageError(f"{path} names no class", "write a line for each: shirt: [t-shirt, tee]")
    owners(classes, str(path))
    return classes


def names(given: str) -> list[str]:
    """Classes in their order: NAME,NAME,… or a file with a name on each line (which may hold commas), as labels.txt is.
    UsageError where a name stands there twice, or none does."""
    words = given.split(",")
    if len(words) == 1 and not is_file(Path(given)) and ("/" in given or Path(given).suffix in _TEXTS):
        raise UsageError(f"--classes {given} is not there", "name a file with a class on each line, or the classes")
    if is_file(Path(given)):
        written = [line for _, line in usertext.lines(Path(given), "a file of class names")]
        words = [line.rstrip(",") for line in written] if len(written) > 1 else ",".join(written).split(",")
    if any("{" in word for word in words):
        raise UsageError(
            f"{given} is no list of names, but a label map", "write one name on each line, without label 0"
        )
    found = [name.strip() for name in words if name.strip()]
    if not found or len(set(found)) < len(found):
        raise UsageError(f"--classes {given} is no list of different names", "name each class once: cat,dog; or a file")
    return found


def owners(classes: Classes, where: str = "classes") -> dict[str, int]:
    """The class's number for each name. UsageError for a name that two classes claim."""
    found: dict[str, int] = {}
    names = list(classes)
    for number, (key, others) in enumerate(classes.items(), 1):
        for name in map(plain, (key, *others)):
            if found.setdefault(name, number) != number:
                first = names[found[name] - 1]
                raise UsageError(f"{where}: {name!r} belongs to {first!r} and to {key!r}", "take it out of one of them")
    return found


def plain(name: str) -> str:
    """A name as it is compared: small letters, single spaces."""
    return " ".join(name.lower().split())
