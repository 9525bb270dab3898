"""What servers' answers mean to `image matrix --verify`, and how the report says it."""

import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from images import answers
from images import report as matrixreport
from images.answers import Deb, Finding, State
from images.asked import Manifest, Package, Pool, Question, Release, Subject, Wheel
from images.moved import followed
from images.places import Suite
from images.report import Report
from images.verify import Outcome, answer
from infra import registry
from infra.asking import Asker, Reply
from infra.asking_host import Host, retry_after

PACKAGES = b"""Package: libcudnn7
Version: 7.6.5.32-1+cuda10.1
Filename: ./libcudnn7_7.6.5.32-1+cuda10.1_amd64.deb
Size: 12

Package: libcudnn7
Version: 7.6.4.38-1+cuda10.1
Size: 11
Filename: pool/libcudnn7_7.6.4.38-1+cuda10.1_amd64.deb

Package: without-a-file
Version: 1
"""


def in_parts(data: bytes) -> bytes:
    return gzip.compress(data[:90]) + gzip.compress(data[90:])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, in_parts], ids=["plain", "gz", "xz", "parts"])
def test_an_index_is_read_whatever_it_is_packed_with(pack: Callable[[bytes], bytes]) -> None:
    found = answers.debs(pack(PACKAGES))
    assert found["libcudnn7"][0] == Deb("7.6.5.32-1+cuda10.1", "libcudnn7_7.6.5.32-1+cuda10.1_amd64.deb", 12)
    assert found["libcudnn7"][1].file == "pool/libcudnn7_7.6.4.38-1+cuda10.1_amd64.deb"
    assert "without-a-file" not in found


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(PACKAGES)[:-30],
        lzma.compress(PACKAGES)[:-30],
        b"\x1f\x8bnot gzip at all",
        b"<html>Please log in</html>",
    ],
    ids=["half a gz", "half an xz", "no gz", "a page"],
)
def test_what_is_no_index_is_not_taken_for_an_empty_one(data: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        answers.debs(data)
    assert answers.debs(b"") == {}


def test_an_index_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 MB"):
        answers.unpacked(lzma.compress(bytes(3 << 20)), 1 << 20)


def test_a_sample_is_spread_over_the_index_and_the_same_each_time() -> None:
    index = {f"p{n:03}": [Deb("1", f"pool/{n:03}.deb", 1)] for n in range(100)}
    names = [one.file for one in answers.sample(index, 5)]
    assert names == [f"pool/{n:03}.deb" for n in (10, 30, 50, 70, 90)]
    assert len(answers.sample(dict(list(index.items())[:3]), 5)) == 3
    assert answers.sample({}, 5) == []


def test_a_release_that_is_past_its_date_is_seen() -> None:
    text = b"Date: Sat, 12 Sep 2026 09:27:08 UTC\nValid-Until: Sat, 19 Sep 2026 09:27:08 UTC\n"
    assert answers.expired(text, datetime(2026, 9, 18, tzinfo=timezone.utc)) == ""
    assert answers.expired(text, datetime(2026, 9, 20, tzinfo=timezone.utc)) == "2026-09-19"
    assert answers.expired(b"Suite: stable\nValid-Until: whenever\n", datetime.now(timezone.utc)) == ""


HTML = b"""<a href="../../files/torch-1.10.2-cp39-cp39-manylinux1_x86_64.whl#sha256=aa">x</a>
<a data-yanked="broken" href="https://me:word@f.example/torch-1.10.1.tar.gz">y</a>
<a data-yanked href="/torch-1.10.0.zip">z</a><a>nothing</a>
<a href="/torch-1.10.2.post1.tar.gz">w</a>"""
JSON = {"files": [
    {"filename": "python_dateutil-2.9.0.post0-py2.py3-none-any.whl", "url": "/d.whl", "size": 7, "yanked": False,
     "hashes": {"sha256": "bb"}},
    {"filename": "python-dateutil-2.9.0.post0.tar.gz", "url": "/d.tar.gz", "yanked": "no good", "hashes": {}},
]}  # fmt: skip


def test_pips_pages_are_read_as_html_and_as_json() -> None:
    page = Reply("https://i.example/simple/torch/", "https://i.example/simple/torch/", 200, {}, HTML)
    files = answers.dists(page)
    [one] = answers.of_version(files, "Torch", "1.10.2")
    assert (one.url, one.sha256, one.yanked) == (
        "https://i.example/files/torch-1.10.2-cp39-cp39-manylinux1_x86_64.whl", "aa", "")  # fmt: skip
    assert answers.of_version(files, "torch", "1.10.1")[0].yanked == "broken"
    assert answers.of_version(files, "torch", "1.10.0")[0].yanked == "yes"
    assert not any("word" in file.url for file in files)
    kind = {"content-type": "application/vnd.pypi.simple.v1+json"}
    wheel, source = answers.of_version(
        answers.dists(Reply("https://i.example/", "https://i.example/", 200, kind, json.dumps(JSON).encode())),
        "python.dateutil", "2.9.0.post0",
    )  # fmt: skip
    assert (wheel.url, wheel.size, wheel.sha256) == ("https://i.example/d.whl", 7, "bb")
    assert source.yanked == "no good"
    with pytest.raises(ValueError, match="no page"):
        answers.dists(Reply("", "", 200, kind, b"[]"))


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply("http://a/x", "http://a/x", 200), "ok"),
        (Reply("http://a/x", "https://a/x", 200), "ok"),
        (Reply("http://a/x", "http://b/x", 200), "changed"),
        (Reply("http://a/x", "http://a/y", 206), "changed"),
        (Reply("http://a/x", "http://b/x", 404), "gone"),
        (Reply("http://a/x", "http://a/x", 410), "gone"),
        (Reply("http://a/x", "http://a/x", 401), "unclear"),
        (Reply("http://a/x", "http://a/x", 302, trouble="a redirect to ftp://x"), "unclear"),
        (Reply("http://a/x", "http://a/x", 429), "unreachable"),
        (Reply("http://a/x", "http://a/x", 503), "unreachable"),
        (Reply("http://a/x", "http://a/x", 0, trouble="no such host"), "unreachable"),
    ],
)
def test_what_a_status_means(reply: Reply, state: State) -> None:
    assert answers.judge(reply).state == state


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("7") == 7
    assert (
        retry_after("Sun, 29 Nov 2026 07:00:10 GMT", datetime(2026, 11, 29, 7, tzinfo=timezone.utc).timestamp()) == 10
    )
    assert retry_after("Sun, 29 Nov 2020 07:00:10 GMT", datetime(2026, 11, 29, tzinfo=timezone.utc).timestamp()) == 0
    assert retry_after("soon") is None and retry_after("") is None


class Clock:
    """Time that passes only when one sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def test_a_host_has_a_pause_between_requests_and_waits_as_it_is_told() -> None:
    clock = Clock()
    host = Host(4, 0.5, clock.sleep, lambda: clock.now)
    starts = []
    for wait in (0, 0, 30, 0):
        with host.turn():
            starts.append(clock.now)
        host.hold(wait)
    assert starts == [100, 100.5, 101, 131]
    host.hold(1000)
    host.leave("no such host", "")
    with host.turn():
        assert clock.now == 131


def test_a_host_whose_connections_break_again_and_again_is_left() -> None:
    host = Host(4, 0, lambda _: None, lambda: 0.0)
    for trouble in ["broke"] * 5 + [""] + ["broke"] * 5:
        host.saw(trouble, "", hopeless=False)
    assert host.left == ""
    host.saw("broke", "", hopeless=False)
    assert host.left == "broke"


BASE = Manifest(registry.parse("debian:12"), "hub.example")
OTHER = Manifest(registry.parse("debian:11"), "hub.example")
DEB = Package((Suite("https://nv.example/x"),), "libcudnn7", "7.6", "nvidia")
WHEEL = Wheel(("https://i.example/simple",), "torch", "1.4.0")
DOWN = Finding("unreachable", "https://hub.example/v2/x", 0, "no such host")


def report(interrupted: bool = False) -> Report:
    known = {BASE: Finding("ok", "https://hub.example/v2/d", 200, digest="sha256:12"), OTHER: DOWN,
             DEB: Finding("gone", "https://nv.example/x/a.deb", 404, "404")}  # fmt: skip
    who = [Subject("one", "", (BASE,)), Subject("two", "2026-08-31", (OTHER, DEB)), Subject("three", "", (BASE, DEB))]
    who += [Subject("four", "", (BASE, WHEEL))] if interrupted else []
    return Report("2026-11-29T07:00:00Z", 12.3, who, Outcome(known, interrupted), {"registry": "hub.example"})


def test_the_report_says_row_by_row_how_it_stands() -> None:
    data = json.loads(json.dumps(matrixreport.as_dict(report())))
    assert [(row["name"], row["state"]) for row in data["rows"]] == [("one", "ok"), ("two", "gone"), ("three", "gone")]
    assert data["rows"][1]["parts"] == {"base": "unreachable", "nvidia": "gone"}
    assert data["rows"][1]["life_ended"] == "2026-08-31"
    assert matrixreport.short_cells(report())[1] == ["two", "gone", "2026-08-31", "nvidia gone, base unreachable"]
    assert data["counts"]["gone"] == 2 and data["date"] == "2026-11-29T07:00:00Z"
    [base] = [one for one in data["answers"] if one["name"].endswith("debian:12")]
    assert (base["digest"], base["status"]) == ("sha256:12", 200)


def test_the_report_names_what_is_gone_first_and_who_needs_it() -> None:
    gone, down = matrixreport.lines(report())
    assert gone == "gone: libcudnn7 7.6: 404 (https://nv.example/x/a.deb); needed by two, three"
    assert down == "unreachable: hub.example: no such host; needed by two"
    text = matrixreport.as_markdown(report())
    assert "| two | gone | unreachable |" in text and "| 2026-08-31 |" in text
    assert "| hub.example/library/debian:12 | sha256:12 |" in text


def test_what_was_not_asked_before_an_interruption_is_said_to_be() -> None:
    found = report(interrupted=True)
    assert matrixreport.cells(found)[3][1] == "not asked"
    assert "not asked: interrupted; needed by four" in matrixreport.lines(found)
    assert "interrupted, so not all was asked" in matrixreport.summary(found)


FIXES = Pool(Suite("https://d.example/s", "b-security", ("main",), "debian", "2026-08-31"))
NEXT = "https://snap.example/archive/debian-security/20260901T000000Z"
LOST = Finding("gone", "https://d.example/s/pool/x.deb", 404, "5 of 6 files that its index names: 404")


def asked_next(suite: Suite, there: Finding, first: Finding = LOST) -> Finding:
    def ask(question: Question) -> Finding:
        assert question == Pool(replace(suite, root=NEXT, undated=True))
        return there

    return followed(replace(FIXES, suite=suite), first, ask)


def test_what_a_snapshot_has_of_a_release_past_its_end_has_moved() -> None:
    suite = replace(FIXES.suite, after=(NEXT,))
    found = asked_next(suite, Finding("changed", f"{NEXT}/x.deb", 200))
    assert (found.state, found.url) == ("moved", f"{NEXT}/x.deb")
    assert found.said == f"{LOST.said}; the release ended on 2026-08-31, and the build takes it from {NEXT}"
    neither = asked_next(suite, Finding("gone", NEXT, 404, "404"))
    assert (neither.state, neither.mend) == ("gone", "")
    assert f"{NEXT} does not give it (404); the build takes the snapshot" in neither.said
    assert asked_next(suite, Finding("unreachable", NEXT, 0, "no such host")).state == "unreachable"
    nobody = Finding("not asked", "", said="this machine knows no mirror of debian")
    assert asked_next(replace(suite, root=""), Finding("ok", NEXT, 200), nobody).state == "moved"
    assert asked_next(replace(suite, root=""), Finding("gone", NEXT, 404), nobody) == nobody


def test_what_no_known_place_has_is_gone_with_what_the_build_does() -> None:
    found = followed(FIXES, LOST, lambda _: LOST)
    assert found.state == "gone" and "set PROVISION_DEBIAN_SNAPSHOT" in found.mend
    assert found.said.endswith("2026-08-31; the build takes the snapshot that the official image names, or else does"
                               " without the security suite")  # fmt: skip
    ubuntu = Release(Suite("https://u.example", "t", ("main",), "ubuntu", "2019-04-25"), "suites")
    found = followed(ubuntu, LOST, lambda _: LOST)
    assert found.said.endswith("the build fails there") and "set PROVISION_UBUNTU_ARCHIVE" in found.mend


def test_a_release_that_lives_and_what_its_mirror_has_are_left_as_they_are() -> None:
    lives = replace(FIXES, suite=replace(FIXES.suite, ended=""))
    assert followed(lives, LOST, lambda _: LOST) == LOST
    fine = Finding("ok", "https://d.example", 200)
    assert followed(FIXES, fine, lambda _: LOST) == fine


def test_a_mirror_that_nobody_knows_is_not_asked_and_the_end_says_so() -> None:
    suites = [Suite("", name, ("main",), "ubuntu", "2019-04-25") for name in ("trusty", "trusty-security")]
    questions = [Release(suites[0], "suites"), Pool(suites[1]), Wheel((), "torch", "1")]
    known = {one: answer(Asker(), one) for one in questions} | {BASE: Finding("ok", "https://hub.example", 200)}
    who = [Subject("one", "", (BASE, *questions)), Subject("two", "", (BASE,))]
    found = Report("2026-11-29T07:00:00Z", 1, who, Outcome(known, False), {})
    assert matrixreport.short_cells(found)[0] == ["one", "not asked", "", "suites not asked, wheels not asked"]
    assert matrixreport.lines(found) == [
        "not asked: this machine knows no mirror of ubuntu; name one: --mirror ubuntu=URL; needed by one",
        "not asked: this machine knows no mirror of python; name one: --mirror python=URL; needed by one",
    ]
    assert matrixreport.left_out(found) == (
        "1 rows or stacks were asked about in part, for this machine knows no mirror of python, ubuntu:"
        " name it with --mirror python=URL, --mirror ubuntu=URL"
    )
    assert matrixreport.left_out(report(interrupted=True)) == ""
