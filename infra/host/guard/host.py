"""What all parts do on the host: words of its journal, programs, the time."""

import calendar
import subprocess
import time

TIME = "%Y-%m-%dT%H:%M:%SZ"
DOCKER_S = 20


def log(text):
    print(text.encode("ascii", "backslashreplace").decode(), flush=True)  # a C locale prints no more


def words_of(words):
    """Exit code and output; code 124 where there was no answer."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DOCKER_S)
    except (OSError, subprocess.SubprocessError) as error:
        return 124, "%s: %s" % (words[0], type(error).__name__)
    text = done.stdout.strip() or (done.stderr.strip() if done.returncode else b"")  # a warning is no answer
    return done.returncode, text.decode(errors="replace")


def seconds_until(text):
    return calendar.timegm(time.strptime(text, TIME)) - time.time()


def now_text(ago=0):
    return time.strftime(TIME, time.gmtime(time.time() - ago))
