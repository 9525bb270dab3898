"""Registries of images over HTTP: is a reference there, and under which digest? Asked as docker does, without docker.

A registry that wants a token says in WWW-Authenticate where it is had; an anonymous one for pulling is enough for
public images (https://distribution.github.io/distribution/spec/auth/token/). HEAD does not count against Docker Hub's
limit of pulls, GET does (https://docs.docker.com/docker-hub/usage/pulls/): so manifests are never asked for by GET.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from infra.asking import Asker, Reply

_ACCEPT = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
])  # fmt: skip
_HUB = ("docker.io", "index.docker.io")


@dataclass(frozen=True)
class Reference:
    """An image's name as a registry knows it. `host` is empty for Docker Hub; `tag` may be a digest."""

    host: str
    repository: str
    tag: str

    def url(self, hub: str) -> str:
        """The manifest's address; `hub` is the host that stands for Docker Hub."""
        host = self.host or hub
        return f"{_scheme(host)}://{host}/v2/{self.repository}/manifests/{self.tag}"


def parse(reference: str) -> Reference:
    """The parts of `debian:12`, `nvidia/cuda:11.8.0-base`, `host.example:5000/a/b@sha256:…`, by docker's own rule.

    A first part with a dot or a port, or `localhost`, is a host.
    """
    name, at, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    host = first if slash and (re.search("[.:]", first) or first == "localhost") else ""
    repository, _, tag = (rest if host else name).partition(":")
    host = "" if host in _HUB else host
    if not host and "/" not in repository:
        repository = f"library/{repository}"
    return Reference(host, repository, digest if at else tag or "latest")


def manifest(asker: Asker, reference: Reference, hub: str) -> Reply:
    """The registry's answer to HEAD for the manifest; its header docker-content-digest holds the digest."""
    url, headers = reference.url(hub), {"Accept": _ACCEPT}
    reply = asker.head(url, headers)
    challenge = reply.headers.get("www-authenticate", "")
    if reply.status != 401 or not challenge.lower().startswith("bearer "):
        return reply
    for get in (asker.get, asker.get_again):  # a token may have run out meanwhile
        token = _token(get, challenge, _scheme(urlsplit(url).netloc))
        if isinstance(token, Reply):
            return token
        reply = asker.head(url, {**headers, "Authorization": f"Bearer {token}"})
        if reply.status != 401:
            break
    return reply


def _token(get: Callable[[str], Reply], challenge: str, scheme: str) -> str | Reply:
    """An anonymous token; or, where there is none, a Reply that says why."""
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = wanted.pop("realm", "")
    if urlsplit(realm).scheme not in ("https", scheme):
        return Reply(realm, realm, 401, trouble="it names an address for tokens that is not encrypted")
    query = urlencode({key: wanted[key] for key in ("service", "scope") if key in wanted})
    reply = get(f"{realm}{'&' if '?' in realm else '?'}{query}")
    if reply.status == 0 or reply.status >= 429:
        return reply
    try:
        answer = json.loads(reply.body)
        return str(answer.get("token") or answer["access_token"])
    except (ValueError, KeyError, AttributeError):  # a 404 here says nothing of the image
        return Reply(realm, realm, 401, trouble=f"no token from {realm} ({reply.status})")


def _scheme(host: str) -> str:
    """http for a registry on this machine, https for all others, as docker does."""
    name = host.rpartition(":")[0] or host
    return "http" if name == "localhost" or name.startswith("127.") else "https"
