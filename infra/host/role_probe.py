"""What the machine's role may, by what AWS answers to calls with its keys; root alone gets these.

The calls come as JSON in the first word: {name: {"service", "method", "url", "region", "headers", "body"}}. The answer
is {name: [HTTP status, the error's code or ""]}, as JSON; status 0: there was no answer. The keys stay here.
"""

import datetime
import hashlib
import json
import re
import sys
import urllib.error
import urllib.request

sys.path.insert(0, "/opt/provision")

from guard.imds import Metadata
from guard.s3 import signature_headers


def ask(keys, call):
    """HTTP status and AWS's code for one call."""
    body = call["body"].encode()
    now = datetime.datetime.now(datetime.timezone.utc)
    digest = hashlib.sha256(body).hexdigest()
    headers = signature_headers(
        call["method"], call["url"], call["region"], keys, digest, now, call["headers"], call["service"]
    )
    data = body if call["method"] in ("PUT", "POST") else None
    if data is not None and "content-type" not in call["headers"]:
        headers["Content-Type"] = "application/octet-stream"  # urllib would call it a form
    request = urllib.request.Request(call["url"], data=data, method=call["method"], headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return [answer.getcode(), ""]
    except urllib.error.HTTPError as error:
        found = re.search("<Code>(.*?)</Code>", error.read(1 << 16).decode("utf-8", "replace"))
        return [error.code, found.group(1) if found else ""]
    except (OSError, ValueError) as error:
        return [0, str(error)]


role = Metadata().credentials()
print(json.dumps({name: ask(role, call) for name, call in json.loads(sys.argv[1]).items()}))
