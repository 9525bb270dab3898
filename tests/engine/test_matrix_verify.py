"""`image matrix --verify` against a web of our own that lies, breaks, redirects, and wants tokens and passwords."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.asked import Commit, File, Manifest, Package, Pool, Release, Subject, Wheel, of_row, subjects
from images.choose import targets
from images.matrix import rows
from images.places import Suite, chosen
from images.verify import answer, verify
from infra import registry
from infra.asking import Asker, Manners
from infra.pipconfig import pips_own
from infra.shell import LocalShell
from provision.cli import run
from tests.engine.lying_web import Asked, Says, Web, add_registry, add_suite, stanza, web_server

DEB = b"a package"
FILES = {f"pool/main/p{n}/p{n}_1.{n}_amd64.deb": DEB + bytes(n) for n in range(6)}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as found:
        yield found


class Clock:
    """Time that passes only when one sleeps: what is waited for is seen, and not waited for."""

    def __init__(self) -> None:
        self.now, self.naps, self.lock = 0.0, list[float](), threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.naps.append(seconds)
            self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asker(clock: Clock) -> Asker:
    return Asker(sleep=clock.sleep, clock=lambda: clock.now)


# lies


def test_a_head_that_says_yes_to_all_is_not_believed(web: Web, asker: Asker) -> None:
    web.pages["/key.pub"] = Says(404, head_status=200)
    web.pages["/good.pub"] = Says(206, b"k")
    assert answer(asker, File(web.url("/key.pub"))).state == "gone"
    assert answer(asker, File(web.url("/good.pub"))).state == "ok"


def test_a_head_that_says_no_to_all_is_not_believed_either(web: Web, asker: Asker) -> None:
    web.pages |= {f"/{code}": Says(206, b"k", head_status=code) for code in (403, 404, 405, 501)}
    assert {answer(asker, File(web.url(f"/{code}"))).state for code in (403, 404, 405, 501)} == {"ok"}


def test_a_purged_pool_is_seen_though_its_index_lists_the_files(web: Web, asker: Asker) -> None:
    add_suite(web, "/debian", "b-security", FILES)
    suite = Suite(web.url("/debian"), "b-security", ("main",))
    assert answer(asker, Release(suite, "suites")).state == "ok"
    found = answer(asker, Pool(suite))
    assert (found.state, found.said) == ("ok", "6 of 6 files that its index names")
    assert not [one for one in web.asked if "/pool/" in one.path and one.method == "GET"]
    for name in list(FILES)[:4]:
        web.pages[f"/debian/{name}"] = Says(404, head_status=200)  # and it lies about that
    found = answer(Asker(), Pool(suite))
    assert (found.state, found.said) == ("gone", "4 of 6 files that its index names: 404")


def test_what_an_archive_has_of_a_release_past_its_end_is_found_there(web: Web, asker: Asker) -> None:
    day = "/snap/debian-security/20260901T000000Z"
    add_suite(web, "/security", "b-security", FILES)
    add_suite(web, day, "b-security", FILES)
    past = Says(body=b"Valid-Until: Sat, 19 Sep 2020 09:27:08 UTC\nSHA256:\n")
    web.pages |= {f"{root}/dists/b-security/InRelease": past for root in ("/security", day)}
    web.pages |= {f"/security/{name}": Says(404) for name in FILES}
    suite = Suite(web.url("/security"), "b-security", ("main",), "debian", "2026-08-31", (web.url(day),))
    found = [answer(asker, one) for one in (Release(suite, "suites"), Pool(suite))]
    assert [one.state for one in found] == ["moved", "moved"]
    assert f"404; the release ended on 2026-08-31, and the build takes it from {web.url(day)}" in found[1].said
    web.pages |= {f"{day}/{name}": Says(404) for name in FILES}
    found = [answer(Asker(), Pool(suite))]
    assert found[0].state == "gone" and "the build takes the snapshot that the official image" in found[0].said


def test_a_page_that_wants_a_login_is_no_package(web: Web, asker: Asker) -> None:
    add_suite(web, "/debian", "b", FILES)
    suite = Suite(web.url("/debian"), "b", ("main",))
    for name in FILES:
        web.pages[f"/debian/{name}"] = Says(body=b"<html>Please log in", headers={"Content-Type": "text/html"})
    found = answer(asker, Package((suite,), "p1", "1.1", "packages"))
    assert found.state == "unclear" and "it has 19 bytes, the index says 10" in found.said
    web.pages["/debian/dists/b/main/binary-amd64/Packages.gz"] = Says(body=b"<html>Please log in")
    assert "no list of packages" in answer(Asker(), Pool(suite)).said
    web.pages["/debian/dists/b/InRelease"] = Says(body=b"<html>Please log in")
    assert answer(asker, Release(suite, "suites")).state == "unclear"


def test_a_pinned_version_has_to_be_listed_and_there(web: Web, asker: Asker) -> None:
    name = "libcudnn7_7.6.5.32-1+cuda10.1_amd64.deb"
    web.pages["/x86_64/Packages"] = Says(body=stanza(f"./{name}", DEB).encode())
    web.pages[f"/x86_64/{name}"] = Says(body=DEB)
    web.pages["/x86_64/Release"] = Says(body=b"SHA256:\n")
    web.pages["/x86_64/Release.gpg"] = Says(body=b"sig")
    tree, empty = Suite(web.url("/x86_64")), Suite(web.url("/none"))
    assert answer(asker, Release(tree, "nvidia")).state == "ok"
    assert answer(asker, Release(empty, "nvidia")).state == "gone"
    assert answer(asker, Package((tree,), "libcudnn7", "7.6.5.32-1+cuda10.1", "nvidia")).state == "ok"
    other = answer(asker, Package((tree,), "libcudnn7", "7.6.4", "nvidia"))
    assert (other.state, other.said) == ("gone", "the index has 7.6.5.32-1+cuda10.1")
    assert answer(asker, Package((tree,), "nccl", "1", "nvidia")).said == "the index does not name it"
    assert answer(asker, Package((empty,), "nccl", "1", "nvidia")).state == "gone"
    assert web.count("/x86_64/Packages") == 1


def test_a_suite_past_its_date_is_said_to_be(web: Web, asker: Asker) -> None:
    web.pages["/d/dists/b/InRelease"] = Says(body=b"Valid-Until: Sat, 19 Sep 2020 09:27:08 UTC\nSHA256:\n")
    found = answer(asker, Release(Suite(web.url("/d"), "b", ("main",)), "suites"))
    assert found.state == "unclear" and "valid until 2020-09-19" in found.said


# breaks


def test_a_connection_that_breaks_off_is_tried_again(web: Web, asker: Asker) -> None:
    web.pages["/a"] = [Says(breaks=True), Says(206, b"a")]
    assert answer(asker, File(web.url("/a"))).state == "ok"
    web.pages["/b"] = Says(breaks=True)
    found = answer(asker, File(web.url("/b")))
    assert (found.state, found.said) == ("unreachable", "the connection broke off")
    assert web.count("/b") == 3


def test_a_server_that_hangs_is_not_waited_for(web: Web, clock: Clock) -> None:
    web.pages["/a"] = Says(hangs=True)
    asker = Asker(Manners(read_s=0.3, tries=2), sleep=clock.sleep, clock=lambda: clock.now)
    found = answer(asker, File(web.url("/a")))
    assert (found.state, found.said) == ("unreachable", "no answer in time")
    assert web.count("/a") == 2


def test_a_broken_server_is_told_from_a_missing_file(web: Web, asker: Asker) -> None:
    web.pages["/a"] = Says(500)
    assert answer(asker, File(web.url("/a"))).state == "unreachable"
    web.pages["/b"] = [Says(503), Says(503), Says(200, b"")]
    assert answer(asker, File(web.url("/b"))).state == "ok"


def test_who_is_asked_to_wait_waits_and_not_for_ever(web: Web, asker: Asker, clock: Clock) -> None:
    web.pages["/a"] = [Says(429, headers={"Retry-After": "7"}), Says(206, b"a")]
    assert answer(asker, File(web.url("/a"))).state == "ok"
    assert 7 <= sum(clock.naps) < 9
    web.pages["/b"] = Says(429, headers={"Retry-After": "7"})
    assert answer(asker, File(web.url("/b"))).said.startswith("429")
    assert web.count("/b") == 3


def test_a_host_that_asks_for_an_hour_is_left_alone(web: Web, asker: Asker, clock: Clock) -> None:
    web.pages["/a"] = Says(503, headers={"Retry-After": "3600"})
    web.pages["/b"] = Says(206, b"b")
    assert answer(asker, File(web.url("/a"))).state == "unreachable"
    found = answer(asker, File(web.url("/b")))
    assert (found.state, found.said, found.mend) == ("unreachable", "it asks to wait for 3600 s", "try again later")
    assert web.count("/b") == 0 and sum(clock.naps) < 60


def test_a_host_that_is_not_there_is_asked_once(web: Web, asker: Asker) -> None:
    with web_server() as gone:
        url = gone.url("/a")
    first = answer(asker, File(url))
    assert (first.state, first.said, first.status) == ("unreachable", "no connection", 0)
    assert answer(asker, File(url + "b")).said == "no connection"


def test_a_host_has_few_connections_and_no_address_is_asked_twice(web: Web, asker: Asker) -> None:
    web.slow_s, web.meet = 0.01, 4
    web.pages |= {f"/{n}": Says(206, b"a") for n in range(40)}
    questions = tuple(File(web.url(f"/{n}")) for n in range(40))
    seen: list[tuple[int, int]] = []
    outcome = verify([Subject("a", "", questions), Subject("b", "", questions)], asker, lambda *at: seen.append(at))
    assert {one.state for one in outcome.known.values()} == {"ok"} and len(outcome.known) == 40
    assert web.most_at_once == 4
    assert all(web.count(f"/{n}", "HEAD") == web.count(f"/{n}", "GET") == 1 for n in range(40))
    assert max(seen) == (40, 40)
    assert {one.headers["user-agent"] for one in web.asked} == {"provision (image matrix --verify)"}


# redirects


def test_a_redirect_elsewhere_is_a_change_and_a_loop_is_seen(web: Web, asker: Asker) -> None:
    web.pages["/old"] = Says(301, headers={"Location": "/new"})
    web.pages["/new"] = Says(206, b"a")
    found = answer(asker, File(web.url("/old")))
    assert (found.state, found.url) == ("changed", web.url("/new"))
    web.pages["/loop"] = Says(302, headers={"Location": "/loop"})
    found = answer(asker, File(web.url("/loop")))
    assert found.state == "unclear" and "more than 5 redirects" in found.said
    assert web.count("/loop", "GET") == 6
    web.pages["/lost"] = Says(302, headers={"Location": "/nowhere"})
    assert answer(asker, File(web.url("/lost"))).state == "gone"
    web.pages["/odd"] = Says(302, headers={"Location": "file:///etc/passwd"})
    web.pages["/worse"] = Says(302, headers={"Location": "http://[x:y/"})
    found = [answer(asker, File(url)) for url in (web.url("/odd"), web.url("/worse"), "http://[x:y/")]
    assert all("not a web address" in one.said for one in found)
    web.pages["/signed"] = Says(302, headers={"Location": f"http://me:word@{web.host}/new?signature=key"})
    web.pages["/new?signature=key"] = Says(206, b"a")
    found = [answer(asker, File(web.url("/signed")))]
    assert found[0].state == "changed" and "key" not in str(found[0]) and "word" not in str(found[0])
    web.pages["/me/caffe/commit/12"] = Says(301, headers={"Location": "/you/caffe/commit/12"})
    web.pages["/you/caffe/commit/12"] = Says()
    assert answer(asker, Commit(web.url("/me/caffe"), "12")).state == "changed"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "crt"]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "crt").read_bytes())
    return both


@pytest.fixture
def safe(certificate: Path) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with web_server(lambda sock: context.wrap_socket(sock, server_side=True), "https") as found:
        yield found


def test_an_unknown_authority_is_named_with_the_mend(safe: Web, asker: Asker) -> None:
    found = answer(asker, File(safe.url("/a")))
    assert found.state == "unreachable" and found.said.startswith("TLS: certificate verify failed")
    assert "SSL_CERT_FILE" in found.mend
    assert safe.asked == []


def test_no_redirect_leads_from_https_to_http(
    safe: Web, web: Web, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    safe.pages["/a"] = Says(302, headers={"Location": web.url("/a")})
    safe.pages["/b"] = Says(206, b"b")
    web.pages["/a"] = Says(206, b"a")
    web.pages["/up"] = Says(302, headers={"Location": safe.url("/b")})
    asker = Asker()
    found = answer(asker, File(safe.url("/a")))
    assert found.state == "unclear" and "not encrypted" in found.said
    assert answer(asker, File(safe.url("/b"))).state == "ok"
    assert web.asked == []
    assert answer(asker, File(web.url("/up"))).state == "changed"


# registries, credentials, indexes


def manifest(web: Web, reference: str) -> Manifest:
    return Manifest(registry.parse(reference), web.host)


def test_a_registry_gets_an_anonymous_token_and_gives_the_digest(web: Web, asker: Asker) -> None:
    add_registry(web, {"library/debian": ("12", "13"), "nvidia/cuda": ("1",)})
    found = answer(asker, manifest(web, "debian:12"))
    assert (found.state, found.status) == ("ok", 200) and found.digest.startswith("sha256:")
    assert answer(asker, manifest(web, "debian:missing")).state == "gone"
    assert answer(asker, manifest(web, "nvidia/cuda:1")).state == "ok"
    tokens = [one for one in web.asked if one.path.startswith("/token")]
    assert len(tokens) == 2 and all("authorization" not in one.headers for one in tokens)
    assert {one.method for one in web.asked if one.path.startswith("/v2/")} == {"HEAD"}
    web.tokens_out = 2
    assert answer(asker, manifest(web, "debian:13")).state == "ok"


def test_a_registry_that_says_nothing_of_use_is_unclear(web: Web, asker: Asker) -> None:
    web.pages["/v2/a/no-digest/manifests/1"] = Says()
    web.pages["/v2/a/login/manifests/1"] = Says(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    web.pages["/v2/a/away/manifests/1"] = Says(401, headers={"WWW-Authenticate": 'Bearer realm="ftp://x/t"'})
    challenge = f'Bearer realm="{web.url("/no-token")}",service="s"'
    web.pages["/v2/a/none/manifests/1"] = Says(401, headers={"WWW-Authenticate": challenge})
    found = [answer(asker, manifest(web, f"a/{name}:1")) for name in ("no-digest", "login", "away", "none")]
    assert {one.state for one in found} == {"unclear"}
    assert "names no digest" in found[0].said and "not encrypted" in found[2].said and "no token" in found[3].said


def test_a_token_is_not_handed_on_to_another_host(web: Web, asker: Asker) -> None:
    add_registry(web, {"library/debian": ("12",)})
    with web_server() as other:
        first = web.pages["/v2/library/debian/manifests/12"]

        def moved(asked: Asked) -> Says:
            says: Says = first(asked)
            return says if says.status == 401 else Says(307, headers={"Location": other.url("/x")})

        web.pages["/v2/library/debian/manifests/12"] = moved
        other.pages["/x"] = Says(headers={"Docker-Content-Digest": f"sha256:{64 * '1'}"})
        assert answer(asker, manifest(web, "debian:12")).state == "changed"
        assert other.asked and all("authorization" not in one.headers for one in other.asked)


def add_wheel(web: Web, name: str, version: str, sha256: str = "aa", login: bool = False) -> None:
    """An index with one wheel, for all or for who has a password."""
    file = f"{name}-{version}-py3-none-any.whl"

    def guarded(says: Says) -> object:
        wants = Says(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return (lambda asked: says if "authorization" in asked.headers else wants) if login else says

    page = f'<a href="/files/{file}#sha256={sha256}">{file}</a>'.encode()
    web.pages[f"/simple/{name}/"] = guarded(Says(body=page))
    web.pages[f"/files/{file}"] = guarded(Says(206, b"w"))


def test_a_wheel_is_there_or_yanked_or_another_or_gone(web: Web, asker: Asker) -> None:
    add_wheel(web, "torch", "1.4.0")
    index = web.url("/simple")
    assert answer(asker, Wheel((index,), "torch", "1.4.0", "aa")).state == "ok"
    assert "pinned checksum" in answer(asker, Wheel((index,), "torch", "1.4.0", "bb")).said
    assert answer(asker, Wheel((index,), "torch", "1.5.0")).state == "gone"
    assert answer(asker, Wheel((index,), "caffe2", "1")).state == "gone"
    assert answer(asker, Wheel((web.url("/other"), index), "torch", "1.4.0")).state == "ok"
    web.pages["/simple/six/"] = Says(body=b'<a data-yanked="bad" href="/files/six-1.0.tar.gz">x</a>')
    web.pages["/files/six-1.0.tar.gz"] = Says(206, b"s")
    found = answer(asker, Wheel((index,), "six", "1.0"))
    assert (found.state, found.said) == ("changed", "yanked: bad")
    del web.pages["/files/torch-1.4.0-py3-none-any.whl"]
    assert answer(Asker(), Wheel((index,), "torch", "1.4.0")).state == "gone"


def test_a_password_goes_to_the_host_that_asks_for_it_and_to_no_other(web: Web) -> None:
    add_wheel(web, "torch", "1.4.0", login=True)
    add_wheel(web, "six", "1.0")
    asker = Asker(credentials={f"http://{web.host}": ("me", "word")})
    assert answer(asker, Wheel((web.url("/simple"),), "six", "1.0")).state == "ok"
    assert all("authorization" not in one.headers for one in web.asked)
    assert answer(asker, Wheel((web.url("/simple"),), "torch", "1.4.0")).state == "ok"
    assert answer(Asker(), Wheel((web.url("/simple"),), "torch", "1.4.0")).state == "unclear"
    with web_server() as other:
        add_wheel(other, "torch", "1.4.0", login=True)
        web.pages["/simple/torch/"] = Says(302, headers={"Location": other.url("/simple/torch/")})
        asker = Asker(credentials={f"http://{web.host}": ("me", "word")})
        for index in (web.url("/simple"), other.url("/simple")):
            assert answer(asker, Wheel((index,), "torch", "1.4.0")).state == "unclear"
        assert other.asked and all("authorization" not in one.headers for one in other.asked)


def test_a_proxy_is_used_where_the_environment_names_one(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:word@{web.host}")
    monkeypatch.setenv("no_proxy", "")
    web.pages["http://far.example/a"] = Says(206, b"a")
    assert answer(Asker(), File("http://far.example/a")).state == "ok"
    assert {one.headers["proxy-authorization"] for one in web.asked} == {"Basic bWU6d29yZA=="}


def test_pip_tells_the_index_that_it_asks_by_itself() -> None:
    pytest.importorskip("pip")
    assert pips_own(LocalShell()).startswith("http")


# the command


def add_sources(web: Web) -> None:
    for target in targets():
        web.pages[f"{target.stack.source.removeprefix('https://github.com')}/commit/{target.stack.revision}"] = Says()


def add_row(web: Web, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that a row on Debian's CUDA needs, and its stacks, the wheels behind a password; the words that verify it."""
    row = next(row for row in rows().values() if row.id.endswith("debian13") and row.base_kind == "debian-cuda")
    codename = row.base.partition(":")[2]
    add_registry(web, {"library/debian": (codename,)})
    debs = {f"pool/{name}_{version}_amd64.deb": DEB for name, version in row.apt_build.items()}
    for suite, files in ((codename, debs), (f"{codename}-updates", {})):
        add_suite(web, "/debian", suite, files, ("non-free", "contrib", "main"))
    add_suite(web, "/security", f"{codename}-security", FILES)
    for one in of_row(row, chosen(mirrors={"python": web.url("/simple")})):
        if isinstance(one, Wheel):
            add_wheel(web, one.package, one.version, one.sha256, login=True)
    add_sources(web)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:s3cret@{web.host}/simple")
    places = {"debian": "/debian", "debian-security": "/security", "github": ""}
    mirrors = [word for name, path in places.items() for word in ("--mirror", f"{name}={web.url(path)}")]
    return ["image", "matrix", "--verify", "--row", row.id, "--registry", web.host, *mirrors]


def test_the_command_says_how_each_row_stands_and_writes_it_down(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*add_row(web, monkeypatch), "--out", str(tmp_path / "new" / "report.json")]
    assert run(words) == 0
    out, err = capsys.readouterr()
    report, text = ((tmp_path / "new" / f"report.{kind}").read_text() for kind in ("json", "md"))
    data = json.loads(report)
    assert {row["state"] for row in data["rows"]} == {"ok"} and data["date"].startswith("20")
    assert data["rows"][0]["name"].endswith("debian13")
    assert set(data["rows"][0]["parts"]) == {"base", "suites", "wheels", "packages"}
    [base] = [one for one in data["answers"] if one["kind"] == "base"]
    assert base["digest"] in text and base["digest"].startswith("sha256:")
    assert data["rows"][0]["name"] in out and str(tmp_path / "new" / "report.md") in out
    assert "s3cret" not in out + err + report + text


@pytest.mark.parametrize(("says", "code", "state"), [(Says(404), 12, "gone"), (Says(500), 9, "unreachable")])
def test_the_exit_code_tells_what_is_gone_from_what_did_not_answer(
    web: Web, says: Says, code: int, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = add_row(web, monkeypatch)
    web.pages[f"/security/{next(iter(FILES))}"] = says
    assert run([*words, "--json"]) == code
    out, err = capsys.readouterr()
    parts = json.loads(out)["rows"][0]["parts"]
    assert parts == {"base": "ok", "suites": state, "wheels": "ok", "packages": "ok"}
    assert "1 rows or stacks" in err and "Traceback" not in err
    [written] = tmp_path.glob("provision/verify/matrix-20*.md")
    assert f"1 of 6 files that its index names: {says.status}" in written.read_text()


def test_what_needs_a_mirror_that_this_machine_does_not_know_is_not_asked_and_the_rest_is(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PROVISION_DEBIAN_ARCHIVE", "PROVISION_UBUNTU_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    here = "ubuntu" if "\nID=ubuntu\n" in f"\n{Path('/etc/os-release').read_text()}" else "debian"
    other, row = ("debian", "cpu-debian12") if here == "ubuntu" else ("ubuntu", "cpu-ubuntu24.04")
    add_sources(web)
    places = chosen(mirrors={"python": web.url("/simple")})
    for one in (one for who in subjects([rows()[row]], places) for one in who.questions):
        if isinstance(one, Manifest):
            add_registry(web, {one.reference.repository: (one.reference.tag,)})
        elif isinstance(one, Wheel):
            add_wheel(web, one.package, one.version)
    monkeypatch.setenv("PIP_INDEX_URL", web.url("/simple"))
    words = ["--row", row, "--registry", web.host, "--mirror", f"github={web.url()}", "--out", str(tmp_path / "report")]
    assert run(["image", "matrix", "--verify", *words]) == 0
    data, err = json.loads((tmp_path / "report.json").read_text()), capsys.readouterr().err
    assert data["rows"][0]["parts"] == {"base": "ok", "suites": "not asked"}
    assert err.splitlines()[-1].endswith(f"knows no mirror of {other}: name it with --mirror {other}=URL")


def test_ctrl_c_ends_at_once_and_writes_what_is_known(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = [*add_row(web, monkeypatch), "--out", str(tmp_path / "report")]
    reached = threading.Event()

    def hang(asked: Asked) -> Says:
        reached.set()
        return Says(hangs=True)

    web.pages["/debian/dists/trixie-updates/InRelease"] = hang
    command = subprocess.Popen([sys.executable, "-m", "provision", *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert reached.wait(120)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 130 and "provision: interrupted" in err and "Traceback" not in err
    assert json.loads((tmp_path / "report.json").read_text())["interrupted"] is True
    assert "not asked: interrupted" in (tmp_path / "report.md").read_text()
