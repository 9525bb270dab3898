"""Snapshots as files of a folder."""

import glob
import os
import re


def open_inodes():
    """(device, inode) of every file that a process has open, as one that is being written."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            at = os.stat(path)
        except OSError:
            continue
        found.add((at.st_dev, at.st_ino))
    return found


def snapshot_files(folder, pattern):
    """Every file of a snapshot: iteration, part, path relative to the folder."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(base, name), folder)
            match = re.fullmatch(pattern, path)
            if match:
                yield int(match.group("iteration")), match.group("part"), path


def snapshot_sets(folder, pattern, parts):
    """Snapshots whose every part is there: {iteration: [path relative to the folder, ...]}."""
    found = {}
    for iteration, part, path in snapshot_files(folder, pattern):
        found.setdefault(iteration, {})[part] = path
    return {at: sorted(have.values()) for at, have in found.items() if set(have) >= set(parts)}
