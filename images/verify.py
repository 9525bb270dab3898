"""Ask the world whether images can still be built: each question once, many at a time, politely.

`verify` gives all findings so far even where Ctrl-C ends it. A HEAD answer counts where it carries what only the file's
own server knows: the size that the index names, or the registry's digest. Otherwise the first byte is asked for by GET.
Only a registry's HEAD is enough to call something gone.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import urljoin

from images.answers import (
    Deb,
    Dist,
    Finding,
    debs,
    dists,
    expired,
    judge,
    of_version,
    sample,
    worst,
)
from images.asked import Commit, File, Manifest, Package, Pool, Question, Release, Subject, Wheel, unknown
from images.moved import followed
from infra import registry
from infra.asking import Asker, Reply
from infra.concurrency import together

Progress = Callable[[int, int], None]
Known = dict[Question, Finding]

NOT_ASKED = Finding("not asked", "", said="interrupted")
_SAMPLE = 6  # files of each index
_AT_ONCE = 24  # questions; each host has its own limit of connections
_PIP_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True)
class Outcome:
    """The findings, and whether Ctrl-C ended the asking."""

    known: Known
    interrupted: bool


def verify(subjects: Sequence[Subject], asker: Asker, progress: Progress = lambda done, total: None) -> Outcome:
    """Ask all questions. `progress` gets how many are answered, and how many there are, out of several threads."""
    questions = _mixed(list(dict.fromkeys(question for subject in subjects for question in subject.questions)))
    known: Known = {}

    def work(question: Question) -> None:
        known[question] = answer(asker, question)
        progress(len(known), len(questions))

    try:
        together([partial(work, question) for question in questions], _AT_ONCE)
    except KeyboardInterrupt:
        return Outcome(dict(known), True)
    return Outcome(known, False)


def answer(asker: Asker, question: Question) -> Finding:
    """Ask one question; where the mirrors of a release past its end no longer answer it, of the next places, too."""
    return followed(question, _answer(asker, question), partial(_answer, asker))


def _answer(asker: Asker, question: Question) -> Finding:
    if name := unknown(question):
        mend = f"name one: --mirror {name}=URL"
        return Finding("not asked", "", said=f"this machine knows no mirror of {name}", mend=mend)
    find: Callable[[Asker, Any], Finding] = _ASK[type(question)]
    return find(asker, question)


def _mixed(questions: Sequence[Question]) -> list[Question]:
    """The questions, their kinds in turn, so that the wait for one host does not occupy all threads."""
    kinds = dict.fromkeys(question.kind for question in questions)
    lists = [[question for question in questions if question.kind == kind] for kind in kinds]
    return [question for question in chain.from_iterable(zip_longest(*lists)) if question is not None]


def _manifest(asker: Asker, question: Manifest) -> Finding:
    reply = registry.manifest(asker, question.reference, question.host)
    found = judge(reply)
    digest = _digest(reply)
    if reply.status == 401:
        return replace(
            found, said=reply.trouble or "401: the registry shows it to nobody without a login (or has none)"
        )
    if reply.status == 200 and not digest:
        return replace(found, state="unclear", said="the registry names no digest")
    return replace(found, digest=digest)


def _digest(reply: Reply) -> str:
    found = re.fullmatch(r"sha\d+:[0-9a-f]{32,}", reply.headers.get("docker-content-digest", ""))
    return found[0] if found else ""


def _release(asker: Asker, question: Release) -> Finding:
    """InRelease, or for old repositories Release and its signature."""
    folder = question.suite.folder
    reply = asker.get(f"{folder}/InRelease")
    if reply.status == 404:
        signature = judge(asker.head(f"{folder}/Release.gpg"))
        reply = asker.get(f"{folder}/Release")
        if signature.state == "gone":
            return signature
    until = expired(reply.body, datetime.now(timezone.utc)) if reply.status == 200 else ""
    if until and not question.suite.undated:
        return Finding("unclear", reply.url, reply.status, f"it was valid until {until}: apt refuses it as it is")
    if reply.status == 200 and b"SHA256:" not in reply.body and b"SHA1:" not in reply.body:
        return Finding("unclear", reply.url, reply.status, "it is no Release file")
    return judge(reply)


def _pool(asker: Asker, question: Pool) -> Finding:
    found: list[Finding] = []
    for url in question.suite.indexes:
        index, trouble = _index(asker, url)
        if trouble is not None:
            return replace(trouble, said=f"its index: {trouble.said}")
        files = sample(index, _SAMPLE)
        found += [_file(asker, urljoin(f"{question.suite.root}/", deb.file), deb.size) for deb in files]
    if not found:
        return Finding("ok", question.suite.folder, 200, "it is empty")
    bad = worst(found)
    many = sum(finding.state == bad.state for finding in found)
    said = f"{many} of {len(found)} files that its index names" + (f": {bad.said}" if bad.said else "")
    return replace(bad, said=said)


def _package(asker: Asker, question: Package) -> Finding:
    troubles: list[Finding] = []
    others: set[str] = set()
    for suite in question.suites:
        for url in reversed(suite.indexes):  # main is the longest by far
            index, trouble = _index(asker, url)
            troubles += [trouble] if trouble else []
            for deb in index.get(question.package, []):
                if deb.version == question.version:
                    return _file(asker, urljoin(f"{suite.root}/", deb.file), deb.size)
                others.add(deb.version)
    if troubles:
        return worst(troubles)
    has = f"the index has {', '.join(sorted(others))}" if others else "the index does not name it"
    return Finding("gone", question.suites[0].folder, 200, has)


def _index(asker: Asker, url: str) -> tuple[dict[str, list[Deb]], Finding | None]:
    """The packages of an index, which is fetched once; or {} and the reason why it could not be read."""
    return asker.once(("index", url), partial(_read_index, asker, url))


def _read_index(asker: Asker, url: str) -> tuple[dict[str, list[Deb]], Finding | None]:
    flat = "/binary-" not in url
    for ending in (".gz", "") if flat else (".xz", ".gz", ""):
        reply = asker.get(url + ending)
        if reply.status != 404:
            break
    if reply.status != 200:
        return {}, judge(reply)
    try:
        return debs(reply.body), None
    except ValueError as error:
        return {}, Finding("unclear", reply.url, reply.status, str(error))


def _file(asker: Asker, url: str, size: int | None = None) -> Finding:
    reply = asker.head(url)
    if reply.status == 200 and size is not None and reply.size == size:
        return judge(reply)
    if reply.status in (0, 429, 502, 503, 504):
        return judge(reply)
    reply = asker.first_byte(url)
    if reply.status in (200, 206) and None not in (size, reply.size) and reply.size != size:
        return Finding("unclear", reply.url, reply.status, f"it has {reply.size} bytes, the index says {size}")
    return judge(reply)


def _plain_file(asker: Asker, question: File) -> Finding:
    return _file(asker, question.url)


def _wheel(asker: Asker, question: Wheel) -> Finding:
    found: list[Finding] = []
    for index in question.indexes:
        reply = asker.get(f"{index}/{_normal(question.package)}/", {"Accept": _PIP_ACCEPT})
        found.append(_in_index(asker, question, reply))
        if found[-1].state in ("ok", "changed"):
            return found[-1]
    return max(found, key=lambda finding: finding.state == "unreachable")  # gone is known only where all answered


def _in_index(asker: Asker, question: Wheel, reply: Reply) -> Finding:
    if reply.status != 200:
        return judge(reply)
    try:
        files = of_version(dists(reply), question.package, question.version)
    except ValueError as error:
        return Finding("unclear", reply.url, reply.status, str(error))
    if not files:
        return Finding("gone", reply.url, reply.status, "the index has no such version")
    pinned = [dist for dist in files if not question.sha256 or dist.sha256 in (question.sha256, "")]
    if not pinned:
        return Finding("gone", reply.url, reply.status, "no file of that version has the pinned checksum")
    return _of_dist(asker, pinned[0])


def _of_dist(asker: Asker, dist: Dist) -> Finding:
    found = _file(asker, dist.url, dist.size)
    if found.state == "ok" and dist.yanked:
        return replace(found, state="changed", said=f"yanked: {dist.yanked}")
    return found


def _commit(asker: Asker, question: Commit) -> Finding:
    return judge(asker.head(f"{question.source}/commit/{question.revision}"))


def _normal(package: str) -> str:
    """The package's name as an index writes it (PEP 503)."""
    return package.lower().replace("_", "-").replace(".", "-")


_ASK: dict[type, Callable[[Asker, Any], Finding]] = {
    Manifest: _manifest, Release: _release, Pool: _pool, Package: _package, File: _plain_file, Wheel: _wheel,
    Commit: _commit,
}  # fmt: skip
