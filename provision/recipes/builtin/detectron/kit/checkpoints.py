"""Checkpoints of Detectron's in a folder: what a killed training left half-written never counts.

save_object writes NAME.pkl.tmp.UUID and renames it; older Detectrons write NAME.pkl in place, and take the leftovers of
a killed training for a checkpoint. model_iterN.pkl holds the net after iteration N, counted from 0. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: PTH104, PTH107, PTH118, PTH119
# ruff: noqa: PTH123, PTH208, UP031

import os
import pickle
import re
import sys

NAME = re.compile(r"model_iter(\d+)\.pkl$")


def tidy(folder, say):
    """Delete half-written files and move broken checkpoints away; `say` hears of each."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if ".pkl.tmp." in name:
            os.remove(path)
            say("deleted %s: it was half-written" % name)
        elif name.endswith(".pkl") and not _ends_well(path):
            os.rename(path, path + ".broken")
            say("%s is cut short and is now %s.broken" % (name, name))


def newest(folder, say):
    """(path, iteration) of the newest checkpoint that can be read, or (None, -1). Broken ones are moved away."""
    found = sorted((int(NAME.match(name).group(1)), name) for name in os.listdir(folder) if NAME.match(name))
    for at, name in reversed(found):
        path = os.path.join(folder, name)
        try:
            if not load(path)["blobs"]:
                raise ValueError("it holds no net")
            return path, at
        except Exception as error:  # whatever a damaged pickle leads to
            os.rename(path, path + ".broken")
            say("%s cannot be read (%s) and is now %s.broken" % (name, error, name))
    return None, -1


def _ends_well(path):
    """Whether the file ends as each pickle does; cheap, and true for some that are broken nevertheless."""
    with open(path, "rb") as data:
        data.seek(0, os.SEEK_END)
        if data.tell() == 0:
            return False
        data.seek(-1, os.SEEK_END)
        return data.read(1) == b"."


def load(path):
    """What is in it. A pickle can run code: only for files of one's own or with a checksum."""
    with open(path, "rb") as data:
        return pickle.load(data) if sys.version_info[0] == 2 else pickle.load(data, encoding="latin1")


def iteration(path):
    """The iteration in a checkpoint's name, -1 for none."""
    match = NAME.search(os.path.basename(path))
    return int(match.group(1)) if match else -1
