"""Step Functions' word with a task token: this machine is a task of the execution that keeps its run.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
"""

import datetime
import hashlib
import json
import re
import urllib.error
import urllib.request

from .s3 import signature_headers

SILENT_S = 15
OVER = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")  # nobody waits for this token any more


# nobody waits for the token: the execution has ended, or taken its task for lost
Gone = type("Gone", (Exception,), {})


class Tasks:
    """SendTaskHeartbeat and SendTaskSuccess; `fresh_keys` gives the role's keys."""

    def __init__(self, fresh_keys, region, endpoint):
        self.fresh_keys = fresh_keys
        self.region = region
        self.url = endpoint.rstrip("/") + "/"

    def beat(self, token):
        """Say that the task goes on. Gone where nobody waits; other errors as urllib has them."""
        self.say("SendTaskHeartbeat", {"taskToken": token})

    def succeed(self, token, output):
        """End the task with what came of it, as JSON. Gone where nobody waits."""
        self.say("SendTaskSuccess", {"taskToken": token, "output": json.dumps(output)})

    def say(self, action, value):
        body = json.dumps(value).encode()
        try:
            self.post(action, body)
        except urllib.error.HTTPError as error:
            kind = error_type(error)
            if kind in OVER:
                raise Gone(kind) from None
            raise

    def post(self, action, body):
        more = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AWSStepFunctions." + action}
        now = datetime.datetime.now(datetime.timezone.utc)
        digest = hashlib.sha256(body).hexdigest()
        keys = self.fresh_keys()
        headers = signature_headers("POST", self.url, self.region, keys, digest, now, more, "states")
        request = urllib.request.Request(self.url, data=body, method="POST", headers=headers)
        urllib.request.urlopen(request, timeout=SILENT_S).close()


def error_type(error):
    """The name of AWS's error, from its JSON body: `com.amazonaws…#TaskTimedOut`; "" where it has none."""
    try:
        text = str(json.loads(error.read(1 << 16).decode())["__type"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return re.split("[#:]", text)[-1]
