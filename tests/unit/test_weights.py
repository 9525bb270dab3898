"""Trained weights: what is refused before a machine is rented, what is pinned, and what the script's answers become."""

import ast
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from infra.errors import HostError, RunError, UsageError
from infra.host import download, program, transfer
from infra.shell import Result
from provision import settings
from provision.recipes.loading import load, names
from provision.recipes.spec import Weights
from provision.runs import weights
from tests.unit.http_kit import Page, serve

SUM, OTHER = "a" * 64, "b" * 64
FREE = Weights(file="free.caffemodel", url="https://upstream/free", licence="BSD", size=9)
STRICT = Weights(
    file="crf.caffemodel", url="https://upstream/crf", licence="for research", licence_url="https://upstream/terms",
    non_commercial=True,
)  # fmt: skip


class Host:
    """Answers the download script's call with these lines; keeps what was asked."""

    where = "host"

    def __init__(self, *answers: dict[str, Any], code: int = 0, err: str = "") -> None:
        self.answers, self.code, self.err = answers, code, err
        self.asked: list[dict[str, Any]] = []
        self.program = b""

    def run(self, words: Sequence[str], *, check: bool = True, stdin: bytes | None = None, **given: Any) -> Result:
        assert list(words[:2]) == ["python3", "-"]
        self.asked = json.loads(words[2])
        self.program = stdin or b""
        out = "".join(
            json.dumps({"path": ask["path"], **say}) + "\n" for ask, say in zip(self.asked, self.answers, strict=False)
        )
        for line in (self.err + out).splitlines():
            given["on_line"](line)
        return Result(self.code, out, self.err)


def came(sha256: str, size: int = 9, fetched: bool = True) -> dict[str, Any]:
    return {"size": size, "sha256": sha256, "fetched": fetched}


def fetch(host: Host, *files: Weights, before: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    return weights.fetch(host, files, before or {}, said.append), said  # type: ignore[arg-type]


def test_a_licence_that_was_not_accepted_is_refused_with_its_words_and_the_flag() -> None:
    with pytest.raises(UsageError, match=r"for research .https://upstream/terms. — not for commercial use") as caught:
        weights.refuse_unaccepted([FREE, STRICT], ())
    assert "--accept-licence crf.caffemodel" in caught.value.mend
    assert "accept_licences: [crf.caffemodel]" in caught.value.mend
    weights.refuse_unaccepted([FREE, STRICT], ("crf.caffemodel",))
    weights.refuse_unaccepted([FREE], ())


def test_a_file_without_a_published_sum_is_pinned_when_it_first_comes_and_shown() -> None:
    host = Host(came(SUM))
    got, said = fetch(host, FREE)
    path = weights.path_on_host(FREE)
    assert host.asked == [{"url": FREE.url, "mirrors": [], "path": path, "sha256": "", "sha1": "", "size": 9}]
    assert b"class Download" in host.program
    assert got == {FREE.url: {"file": FREE.file, "sha256": SUM, "size": 9}}
    assert f"pinned at first use: sha256 {SUM}" in said[-1]
    assert "weights free.caffemodel: BSD" in said
    assert weights.pins()[FREE.url].sha256 == SUM

    host = Host(came(SUM, fetched=False))
    _, said = fetch(host, FREE)
    assert host.asked[0]["sha256"] == SUM
    assert "there already" in said[-1]
    assert "pinned on 20" in said[-1]


PLAIN = Weights(file="old.caffemodel", url="http://upstream/old", licence="BSD")


def test_a_file_by_http_is_believed_by_its_sum_alone() -> None:
    host = Host(came(SUM))
    with pytest.raises(UsageError, match=r"comes by http://, where anyone on the way can change") as caught:
        fetch(host, PLAIN)
    assert (host.asked, weights.pins()) == ([], {})
    for proven in (plain(sha256=SUM), plain(sha1="d" * 40)):
        fetch(Host(came(SUM)), proven)
    weights.refuse_unproven([PLAIN], {PLAIN.url: {"sha256": SUM}})  # a run that had it before
    entry = caught.value.mend.partition("weights.yaml: ")[2]
    weights.pins_path().write_text(entry.replace("SUM", SUM).replace("BYTES", "9"))
    host = Host(came(SUM))
    fetch(host, PLAIN)
    assert host.asked[0]["sha256"] == SUM


def plain(**more: str) -> Weights:
    return msgspec.structs.replace(PLAIN, **more)


def test_every_recipe_of_ours_has_weights_that_can_be_believed() -> None:
    for name in names():
        for one in load(name).weights:
            weights.refuse_unproven([one], {})


@pytest.mark.parametrize(("sums", "at", "refused"), [({}, "http://other/a", True), ({}, "https://other/a", False),
                                                     ({"sha256": SUM}, "http://other/a", False)])  # fmt: skip
def test_an_address_with_https_may_not_lead_to_one_without(
    sums: dict[str, str], at: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {"Content-Length": "5"}

        def getcode(self) -> int:
            return 200

        def geturl(self) -> str:
            return at

    monkeypatch.setattr(transfer, "opened", lambda *_: Answer(b"hello"))
    one = download.Download({"url": "https://up/a", "path": str(tmp_path / "a"), **sums})
    if refused:
        with pytest.raises(download.Refused, match="leads to http://"):
            one.receive()
    else:
        one.receive()
    assert (tmp_path / "a.part").exists() != refused


def test_another_file_at_the_same_url_is_refused_with_the_mend() -> None:
    weights.pin(FREE.url, SUM, 9)
    with pytest.raises(RunError, match=f"sha256 {OTHER}, and pinned on .*: {SUM}") as caught:
        fetch(Host({"error": "mismatch", "what": OTHER}, code=1), FREE)
    assert str(weights.pins_path()) in caught.value.mend
    assert weights.pins()[FREE.url].sha256 == SUM


def test_the_recipes_sum_counts_before_all_then_the_runs_then_the_users() -> None:
    weights.pin(FREE.url, SUM, 9)
    published = Weights(file="p", url=FREE.url, licence="BSD", sha256="c" * 64)
    assert weights.expected(published, {FREE.url: {"sha256": OTHER}}) == ("c" * 64, "published")
    assert weights.expected(FREE, {FREE.url: {"sha256": OTHER}}) == (OTHER, "pinned by this run")
    assert weights.expected(FREE, {})[0] == SUM
    with pytest.raises(RunError, match="published") as caught:
        fetch(Host({"error": "mismatch", "what": OTHER}, code=1), published)
    assert "do not use it" in caught.value.mend


def test_a_published_sum_is_not_pinned_and_a_pin_is_kept() -> None:
    fetch(Host(came("c" * 64)), Weights(file="p", url="https://u/p", licence="x", sha256="c" * 64))
    assert weights.pins() == {}
    weights.pin("http://u/1", SUM, 1)
    weights.pin("http://u/2", OTHER, 2)
    weights.pin("http://u/1", OTHER, 3)
    assert {url: one.sha256 for url, one in weights.pins().items()} == {"http://u/1": SUM, "http://u/2": OTHER}
    assert [path.name for path in settings.home().iterdir() if not path.name.startswith(".")] == ["weights.yaml"]


def test_a_damaged_list_of_pins_is_no_reason_to_trust_anything() -> None:
    weights.pin(FREE.url, SUM, 9)
    weights.pins_path().write_text("pinned: {http://u: {sha: x}}\n")
    with pytest.raises(UsageError, match=r"weights\.yaml"):
        weights.expected(FREE, {})


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        ("refused", "provision put NAME free.caffemodel /data/weights/"),
        ("page", "in a browser"),
        ("broken", "what has come is kept"),
        ("full", "--disk"),
        ("size", "`size`"),
    ],
)
def test_every_failure_says_what_can_be_done(kind: str, mend: str) -> None:
    with pytest.raises(
        HostError, match=r"free\.caffemodel could not be fetched from https://upstream/free: why"
    ) as error:
        fetch(Host({"error": kind, "what": "why"}, code=1), FREE)
    assert mend in error.value.mend


def test_a_script_that_dies_shows_its_last_words_and_pins_nothing() -> None:
    with pytest.raises(HostError, match="SyntaxError"):
        fetch(Host(code=1, err="Traceback\nSyntaxError: invalid syntax\n"), FREE)
    assert weights.pins() == {}


def test_the_hosts_proxy_and_certificates_count_where_ssh_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "environment").write_text(
        'https_proxy="http://proxy:3128"\nSSL_CERT_FILE=/etc/ca.pem\nHTTP_PROXY=http://other\nPATH=/evil\n'
    )
    before = os.environ["PATH"]
    for name in ("https_proxy", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "")  # so that they go again after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://mine")
    monkeypatch.setattr(download, "ENVIRONMENT", str(tmp_path / "environment"))
    download.host_environment()
    names = ("https_proxy", "SSL_CERT_FILE", "HTTP_PROXY", "PATH")
    assert [os.environ[name] for name in names] == ["http://proxy:3128", "/etc/ca.pem", "http://mine", before]


def test_mirrors_are_tried_where_the_address_fails_and_a_page_is_none_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = serve(monkeypatch, gone=Page(code=403), page=Page(b"<html>quota</html>"), net=b"weights")
    names = ("gone", "page", "net")
    addresses = [f"https://host.invalid/{name}" for name in names]
    wish = {"url": addresses[0], "mirrors": addresses[1:], "path": str(tmp_path / "f" / "net.caffemodel")}
    sha256 = hashlib.sha256(b"weights").hexdigest()
    answer = download.Download({**wish, "sha256": sha256}).fetch()  # type: ignore[no-untyped-call]
    assert answer == {"path": wish["path"], "size": 7, "sha256": sha256, "fetched": True}
    assert Path(wish["path"]).read_bytes() == b"weights"
    del web.pages[addresses[2]]
    Path(wish["path"]).unlink()
    with pytest.raises(transfer.Refused, match="403") as caught:
        download.Download(wish).fetch()  # type: ignore[no-untyped-call]
    assert caught.value.kind == "refused" and not Path(wish["path"]).exists()


def test_a_server_that_sends_one_part_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = serve(monkeypatch, net=Page(b"x" * 100, part="bytes 0-99/200"))
    wish = {"url": "https://host.invalid/net", "path": str(tmp_path / "net"), "sha256": SUM}
    with pytest.raises(transfer.Refused, match="after 8 tries"):
        download.Download(wish).fetch()  # type: ignore[no-untyped-call]
    assert len(web.asked) < 20


def test_what_is_to_be_known_of_an_address_is_told_before_a_machine_is_rented_and_where_it_fails() -> None:
    known = Weights(file="x.caffemodel", url="https://upstream/x", licence="free", note="shut since 2021")
    assert "shut since 2021" in weights.terms(known) and "shut since 2021" in weights.words(weights.rows([known])[0])
    with pytest.raises(HostError, match="shut since 2021"):
        fetch(Host({"error": "refused", "what": "403"}, code=1), known)


def test_the_script_runs_with_the_python_of_old_machines() -> None:
    assert ast.parse(program("transfer.py", "download.py"), feature_version=(3, 6))


def test_progress_is_passed_on_and_answers_are_not() -> None:
    _, said = fetch(Host(came(SUM), err="free.caffemodel: 120 of 537 MB\n"), FREE)
    assert "  weights free.caffemodel: 120 of 537 MB" in said
    assert not [line for line in said if "{" in line]


def test_two_recipes_may_mean_different_files_by_one_name() -> None:
    other = Weights(file=FREE.file, url="https://elsewhere/free", licence="x")
    assert weights.path_on_host(FREE) != weights.path_on_host(other)
    assert Path(weights.path_on_host(FREE)).name == Path(weights.path_on_host(other)).name == FREE.file


def test_what_would_be_fetched_is_shown_with_size_terms_and_sum() -> None:
    first, second = weights.rows([FREE, STRICT])
    assert (first["checksum"], first["sha256"], first["size"]) == ("pinned at first use", "", 9)
    assert "when" not in first
    line = weights.words(second)
    assert "crf.caffemodel from https://upstream/crf; licence: for research — not for commercial use" in line
