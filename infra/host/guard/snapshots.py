"""Which files of a run's folder are a snapshot's, or outputs."""

import contextlib
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

from .files import Tree, decent
from .host import log

MATCH_S = 10
ONE_S = 0.05
REST = 9  # times as long as a look has taken, none follows
LITERAL = r"(?:(?:[\w -]|\\[^\w])+/(?![?*+{]))*"


class Finder:
    """Files below a folder whose path fits a pattern."""

    def __init__(self, folder, pattern, match):
        self.tree = Tree(folder, literal_folder(pattern))  # nowhere else can one be
        self.pattern = pattern
        self.match = match
        self.known = {}  # path: [iteration, part], None: does not fit
        self.again = 0.0

    def find(self, now=False):
        """{path: [iteration, part]}. Looking takes a tenth of the time at most, or else what was found last counts."""
        begun = time.monotonic()
        if now or begun >= self.again:
            paths = self.tree.files()
            new = [path for path in paths if path not in self.known and decent(path)]
            fits, whole = self.match(self.pattern, new) if new else ({}, True)
            fits.update(self.known)
            self.known = {path: fits.get(path) for path in paths if whole or path in fits}
            ended = time.monotonic()
            self.again = ended + REST * (ended - begun)
        return {path: fit for path, fit in self.known.items() if fit}


def literal_folder(pattern):
    """The folder that all paths which fit the regular expression are in."""
    bare, before = re.sub(r"\\.|\[\^?\]?[^]]*\]", "", pattern), None
    while bare != before:
        bare, before = re.sub(r"\([^()]*\)", "", bare), bare
    return "" if "|" in bare else re.sub(r"\\(.)", r"\1", re.match(LITERAL, pattern).group())


def apart(pattern, paths):
    """Which paths fit, and whether all were tried. In a process of its own: a pattern that backtracks for ever would
    hold up every thread of this one."""
    words = [sys.executable, os.path.dirname(os.path.abspath(__file__)), "match", pattern]
    try:
        done = subprocess.run(words, input=json.dumps(paths).encode(), stdout=subprocess.PIPE, timeout=MATCH_S)
        text, whole = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as error:
        text, whole = error.output or b"", False
        log("%s takes too long" % pattern)
    return {line[0]: line[1:] for line in map(json.loads, text.decode().split("\n")[:-1])}, whole


def fitting(pattern, paths):
    """Yield [path, iteration, part] of those that fit; one that takes too long (CPU) does not."""
    rule = re.compile(pattern)
    signal.signal(signal.SIGVTALRM, signal.default_int_handler)
    for path in paths:
        with contextlib.suppress(KeyboardInterrupt, ValueError):
            signal.setitimer(signal.ITIMER_VIRTUAL, ONE_S)
            found = rule.fullmatch(path)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if found:
                words = found.groupdict()
                yield [path, int(words.get("iteration") or 0), words.get("part")]


def as_pattern(form):
    """The regular expression of a form like `train/*/model.pkl` or `**/*.txt`, as glob takes it."""
    text, any_ = "", {"*": "[^/]*", "?": "[^/]"}
    for step in (form + "/*" if form.endswith("**") else form).split("/"):
        if step == "**":
            text += r"(?:(?!\.)[^/]+/)*"
            continue
        words = re.findall(r"\[[^]]+\]|.", step)
        text += r"(?!\.)" if step[:1] in "*?[" else ""
        text += "".join(any_.get(word) or (word.replace("[!", "[^") if word[1:] else re.escape(word)) for word in words)
        text += "/"
    return text[:-1]


def snapshot_sets(found, parts):
    """Snapshots whose every part is there: {iteration: [path relative to the folder, ...]}."""
    sets = {}
    for path, (iteration, part) in found.items():
        sets.setdefault(iteration, {})[part] = path
    return {at: sorted(have.values()) for at, have in sets.items() if set(have) >= set(parts)}


def open_inodes():
    """(device, inode) of every file that a process has open, as one that is being written."""
    found = set()
    for path in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            at = os.stat(path)
        except OSError:
            continue
        found.add((at.st_dev, at.st_ino))
    return found
