"""The instance's own metadata: the spot notice, and the keys of its role."""

import json
import os
import time
import urllib.error
import urllib.request

from .host import seconds_until

IMDS = os.environ.get("PROVISION_IMDS", "http://169.254.169.254/latest/")
NOTICE_S = 120  # no notice is longer, whatever the clock here says


class Metadata:
    """IMDSv2: a token first, renewed before it ends."""

    def __init__(self):
        self.token = None
        self.until = 0.0

    def get(self, path):
        """Text of a metadata path; None where there is none."""
        if time.monotonic() > self.until:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": "3600"}
            request = urllib.request.Request(IMDS + "api/token", method="PUT", headers=headers)
            self.token = urllib.request.urlopen(request, timeout=2).read().decode()
            self.until = time.monotonic() + 3000
        request = urllib.request.Request(IMDS + "meta-data/" + path, headers={"X-aws-ec2-metadata-token": self.token})
        try:
            return urllib.request.urlopen(request, timeout=2).read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self.until = 0.0
            return None

    def notice(self):
        """Seconds left when AWS has announced the end of this instance, else None."""
        text = self.get("spot/instance-action")
        if not text:
            return None
        return min(max(0.0, seconds_until(json.loads(text)["time"])), NOTICE_S)

    def credentials(self):
        """The role's temporary keys."""
        role = self.get("iam/security-credentials/")
        keys = json.loads(self.get("iam/security-credentials/" + role.split()[0]) or "{}") if role else {}
        if "AccessKeyId" not in keys:
            raise ConnectionError("this instance's role has no keys")  # at first
        return keys
