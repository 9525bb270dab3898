"""A registry of images as ECR is one to Docker: manifests and blobs over HTTP, for who gives the right password."""

import base64
import gzip
import hashlib
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.shell import LocalShell

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """`held`: manifests and blobs by their digests, and manifests by NAME:TAG. `asked`: the paths for which somebody
    asked who gave the password. `shown`: command lines of this machine that had it meanwhile."""

    def __init__(self, password: str) -> None:
        self.password, self.host = password, ""
        self.held: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.shown: list[str] = []

    def push(self, repository: str, tag: str, image: str, folder: Path) -> tuple[str, str]:
        """Take the Docker engine's image; the digest and the text of its manifest."""
        saved = folder / "saved.tar"
        LocalShell().run(["docker", "save", "-o", str(saved), image])
        with tarfile.open(saved) as tar:

            def read(name: str) -> bytes:
                data = tar.extractfile(name)  # a link is followed
                assert data is not None
                return data.read()

            [told] = json.loads(read("manifest.json"))
            layers = [self._keep(gzip.compress(read(name), 1, mtime=0), _LAYER) for name in told["Layers"]]
            config = self._keep(read(told["Config"]), _CONFIG)
        saved.unlink()
        made = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        # Docker keeps manifests that it has seen, and asks for none again
        text = json.dumps({**made, "annotations": {"made": uuid.uuid4().hex}})
        digest = str(self._keep(text.encode(), MANIFEST)["digest"])
        self.held[f"{repository}:{tag}"] = text.encode()
        return digest, text

    def _keep(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.held[digest] = data
        return {"mediaType": kind, "size": len(data), "digest": digest}

    def look(self) -> None:
        """Note the command lines that have the password."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended
                continue
            if self.password in words:
                self.shown.append(words)


@contextmanager
def listening(password: str) -> Iterator[Registry]:
    """A registry on this machine; Docker takes one of 127.0.0.1 without TLS."""
    registry = Registry(password)
    wanted = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.look()
            if self.headers.get("Authorization") != wanted:
                self._answer(401, b"Not Authorized", WWW_Authenticate='Basic realm="tests",service="ecr"')
                return
            registry.asked.append(self.path)
            name, kind, reference = self.path.rpartition("/manifests/") if "/manifests/" in self.path else (
                self.path.rpartition("/blobs/")
            )  # fmt: skip
            key = reference if reference.startswith("sha256:") else f"{name.removeprefix('/v2/')}:{reference}"
            data = b"{}" if self.path == "/v2/" else registry.held.get(key)
            if data is None:
                self._answer(404)
                return
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            of = MANIFEST if kind == "/manifests/" else "application/octet-stream"
            self._answer(200, data, Content_Type=of, Docker_Content_Digest=digest)

        do_HEAD = do_GET

        def _answer(self, code: int, data: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for header, value in headers.items():
                self.send_header(header.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
