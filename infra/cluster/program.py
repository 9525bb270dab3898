"""The training's process in its container: how it stands, and how it is told to save.

It never gets a signal of Slurm's own, which goes to all of a job: what is ignored when a program begins stays so in it.
"""

import contextlib
import os
import signal
import subprocess


class Program:
    """The training in its container. `root`: the run's folder, which it sees as /work."""

    def __init__(self, root, words, out, spared):
        self.pid_file = os.path.join(root, ".pid")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.pid_file)

        def alone():
            os.setsid()
            for number in spared:  # Slurm sends its own to all of a job; what is ignored stays so in the program
                signal.signal(number, signal.SIG_IGN)

        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=alone)

    def status(self):
        code = self.process.poll()
        if code is None:
            return "running", None, False
        return "exited", code if code >= 0 else 128 - code, False

    def signal(self, number):
        """Whether it was there to be told. Its number is in a file that it may write: one process is meant, whatever
        stands there."""
        try:
            with open(self.pid_file) as data:
                pid = int(data.read(32))
            if pid > 1:
                os.kill(pid, number)
            return pid > 1
        except (OSError, ValueError):
            return False

    def kill(self):
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
