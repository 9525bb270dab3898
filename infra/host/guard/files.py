"""Files below a folder that a training's container may write at any time: reached step by step, no link is followed.

The guard is root and pushes with root's rights: a thread cannot give them up for itself, as glibc changes the ids of
the whole process. It uses none of them here: what is opened is a plain file of the login user with one name, in a
folder reached through no link, so nothing that the container could not have read by itself. Copies that somebody asks
for are processes of their own, and give up root.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import time

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nobody waits for the other end of a FIFO
MANY = 250000  # files and folders of a tree that are looked at
MOST = 256 << 30  # bytes of a file
PATH = 512  # bytes
LEASES = True  # whether the file system tells by them who writes: that of a machine of ours does


@contextlib.contextmanager
def inside(folder, path, make=False, clear=False):
    """The opened folder of `path`, which is below `folder`, and the path's last name. OSError where a link leads on;
    `clear` puts out of the way what is no folder to enter."""
    steps = path.split("/")
    at = os.open(folder, FOLDER)
    try:
        for step in steps[:-1]:
            if step in ("", ".", ".."):
                raise OSError("%s leads out of the folder" % path)
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=at)
            try:
                below = os.open(step, FOLDER, dir_fd=at)
            except (NotADirectoryError, PermissionError):
                if not clear:
                    raise
                aside(at, step)
                os.mkdir(step, dir_fd=at)
                below = os.open(step, FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at, steps[-1]
    finally:
        os.close(at)


@contextlib.contextmanager
def opened(folder, path, owner, names=1):
    """A descriptor to read from. OSError where it is anything but a plain file of the owner, with as many names."""
    with inside(folder, path) as (at, name):
        fd = os.open(name, PLAIN, dir_fd=at)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > names or about.st_uid != owner or about.st_size > MOST:
            raise OSError("%s is no plain file of the login user" % path)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def written(folder, path, clear=False):
    """A new file to write, which takes the place of `path` when it is whole; its folders are made."""
    with inside(folder, path, make=True, clear=clear) as (at, name):
        part = name + ".part"
        aside(at, part)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=at)
        with open(fd, "wb") as out:
            yield out
        try:
            os.replace(part, name, src_dir_fd=at, dst_dir_fd=at)
        except IsADirectoryError:
            if not clear:
                raise
            aside(at, name)
            os.replace(part, name, src_dir_fd=at, dst_dir_fd=at)


def aside(at, name):
    """Unlink what has that name; a folder, which may be deep without end, gets another name."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass
    except OSError:
        os.rename(name, "%s.aside-%s" % (name, os.urandom(4).hex()), src_dir_fd=at, dst_dir_fd=at)


def remove(folder, path):
    with inside(folder, path) as (at, name):
        os.unlink(name, dir_fd=at)


def mark(fd):
    """What tells a file and its content from any other, whatever the clock says."""
    about = os.fstat(fd)
    return [about.st_ino, about.st_mtime_ns, about.st_size]


def written_now(fd):
    """Whether somebody has the file open to write; None where the file system does not tell.

    The kernel grants a lease to read only while nobody has: no walk over all that all processes have open, which a
    container can make as long as it likes.
    """
    if not LEASES:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None


def decent(path):
    """Whether S3 and a list in XML can have that name."""
    return len(os.fsencode(path)) <= PATH and path.isprintable()


class Tree:
    """The paths of all files below `folder`/`start`; only what has changed is listed anew."""

    def __init__(self, folder, start="", many=MANY, longest=PATH):
        self.folder = folder
        self.many = many
        self.longest = longest  # path of a folder that is entered: one that is deep without end takes all memory
        self.start = start  # with a slash at its end
        self.known = {}  # folder: (its mark, files, folders)
        self.cut = False  # whether there is more

    def files(self):
        """At most `many`, from the top downwards."""
        known, left, found = {}, [self.start], []
        for at in left:
            self.cut = len(left) + len(found) > self.many
            if self.cut:
                break
            with contextlib.suppress(OSError):
                known[at] = self.look(at)
                found += known[at][1]
                left += known[at][2]
        self.known = known
        return found

    def look(self, at):
        with inside(self.folder, at) as (fd, _):
            about = os.fstat(fd)
            now = about.st_ino, about.st_mtime_ns
            if at in self.known and self.known[at][0] == now:
                return self.known[at]
            both = [], []
            with os.scandir("/proc/self/fd/%d" % fd) as entries:  # by number from 3.7 on
                for entry in itertools.islice(entries, self.many):
                    both[entry.is_dir(follow_symlinks=False)].append(at + entry.name)
        if abs(time.time() - about.st_mtime) < 2:  # it may change once more within the same tick of the clock
            now = None
        return now, both[0], [name + "/" for name in both[1] if len(name) < self.longest]
