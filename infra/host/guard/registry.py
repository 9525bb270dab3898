"""An image of ECR for Docker: a token for the role's keys, which no file keeps and no command line has.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
"""

import base64
import datetime
import glob
import hashlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request

from .s3 import signature_headers
from .tasks import error_type

SILENT_S = 15
TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
MEMORY = "/dev/shm"  # a folder here is on no disk
FOLDER = "provision-registry-%s-"  # with the number of its process


# ECR gives no token
Refused = type("Refused", (OSError,), {})


def password(fresh_keys, login):
    """The user's name and the password by which Docker may pull, for 12 hours. `login`: {"host", "region", "endpoint"}.
    Refused where ECR does not give them; other errors as urllib has them."""
    url, body = login["endpoint"].rstrip("/") + "/", b"{}"
    more = {"content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
    now = datetime.datetime.now(datetime.timezone.utc)
    digest = hashlib.sha256(body).hexdigest()
    headers = signature_headers("POST", url, login["region"], fresh_keys(), digest, now, more, "ecr")
    request = urllib.request.Request(url, data=body, method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SILENT_S) as answer:
            found = json.loads(answer.read(1 << 20).decode())
        user, _, word = base64.b64decode(found["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    except urllib.error.HTTPError as error:
        raise Refused("ECR gives no token: %s" % (error_type(error) or error.code)) from None
    except (LookupError, TypeError, ValueError):
        raise Refused("ECR's answer has no token") from None
    return user, word


def sweep():
    """Delete the folders of processes that were killed."""
    for old in glob.glob(os.path.join(MEMORY, FOLDER % "*" + "*")):
        if not os.path.isdir("/proc/" + os.path.basename(old).split("-")[2]):
            shutil.rmtree(old, ignore_errors=True)


def pull(programs, name, login, fresh_keys):
    """Exit code and last words of Docker's pull. Docker reads the password from its input, and keeps it in a folder of
    this call's own, which goes with it."""
    user, word = password(fresh_keys, login)
    sweep()
    folder = tempfile.mkdtemp(prefix=FOLDER % os.getpid(), dir=MEMORY if os.path.isdir(MEMORY) else None)
    docker = ["env", "DOCKER_CONFIG=" + folder, "docker"]
    try:
        said = programs.run(docker + ["login", "-u", user, "--password-stdin", login["host"]], word.encode())
        if said[0] == 0:
            said = programs.run(docker + ["pull", "-q", name])
        return said[0], said[2]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
