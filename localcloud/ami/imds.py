"""The metadata service of one local cloud: IMDSv2 tokens and the hop limit; the answers come from the daemon.

Runs in a container of its own, which owns 169.254.169.254 on the instances' network. The caller is known by
its source address alone, as on EC2. The hop limit of 1 is a real one: our packets leave with a TTL of 1, so
that a container behind an instance's bridge never gets the answer.
"""

import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = ("169.254.169.254", 80)
LONGEST = 21600  # seconds that a token may live
TOKEN = "X-aws-ec2-metadata-token"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"

tokens: dict[str, tuple[str, float]] = {}  # token → (the address that got it, when it ends)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        seconds = self.headers.get(TTL, "")
        if self.path != "/latest/api/token":
            return self.answer(404)
        if "X-Forwarded-For" in self.headers:
            return self.answer(403)
        if not seconds.isdigit() or not 1 <= int(seconds) <= LONGEST:
            return self.answer(400)
        token = secrets.token_urlsafe(40)
        tokens[token] = (self.client_address[0], time.monotonic() + int(seconds))
        return self.answer(200, token.encode())

    def do_GET(self) -> None:
        whose, until = tokens.get(self.headers.get(TOKEN, ""), ("", 0.0))
        if whose != self.client_address[0] or until < time.monotonic():
            return self.answer(401)
        return self.answer(*ask(self.path, whose))

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence: the daemon keeps the log."""


def ask(path: str, address: str) -> tuple[int, bytes]:
    """The daemon's answer for the instance that has `address`."""
    headers = {"X-Local-Secret": os.environ["SECRET"], "X-Local-Client": address}
    request = urllib.request.Request(os.environ["DAEMON"] + "/_local/metadata" + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 503, b""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        super().server_bind()


if __name__ == "__main__":
    os.system("ip address replace 169.254.169.254/32 dev eth0")
    Server(ADDRESS, Handler).serve_forever()
