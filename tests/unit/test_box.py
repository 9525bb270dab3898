"""Boxes: the words that make one, what is refused, and what Docker's answers mean."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.containers import GpuRequest
from infra.errors import HostError, NotFoundError, UsageError
from infra.shell import OnLine, Result, Words
from provision.hosts import box, x_display

SPEC = box.BoxSpec("lab", "provision/caffe-debian:x", "1000:1001")
ROW = {
    "Names": "provision-box-lab", "Image": "my:1", "Status": "Exited (137) 2 hours ago", "CreatedAt": "2026-11-21",
    "Ports": "",
}  # fmt: skip


class Host:
    """A shell that answers by the first words that fit, and keeps what it was asked."""

    where = "here"

    def __init__(self, answers: Mapping[str, Result | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.given: list[bytes | None] = []

    def run(
        self, words: Words, *, check: bool = True, stdin: bytes | None = None, env: Mapping[str, str] | None = None,
        timeout: float | None = None, on_line: OnLine | None = None,
    ) -> Result:  # fmt: skip
        line = " ".join(words)
        self.asked.append(line)
        self.given.append(stdin)
        for begin, answer in self.answers.items():
            if line.startswith(begin):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return Result(0)

    def put(self, source: Path, target: str) -> None: ...

    def get(self, source: str, target: Path) -> None: ...


def there() -> Host:
    return Host({"docker ps": Result(0, json.dumps(ROW) + "\n")})


def test_the_words_give_the_user_a_home_and_nobody_else_a_way_in() -> None:
    spec = box.BoxSpec("lab", "img", "7:8", GpuRequest((0,)), ("/a:/b:ro", "keep:/c"), ("8888", "80:8080"))
    words = " ".join(box.start_words(spec))
    assert "--user 7:8" in words
    assert "--volume provision-box-lab-home:/home/box" in words
    assert "--volume /a:/b:ro --volume keep:/c" in words
    assert "--publish 127.0.0.1:8888:8888 --publish 127.0.0.1:80:8080" in words
    assert "--entrypoint sleep" in words and words.endswith("img infinity")
    assert "MPLBACKEND=Agg" in words
    assert "--privileged" not in words and "no-new-privileges" not in words  # who is in it may use sudo


def entry(family: int, address: bytes, number: bytes, cookie: bytes) -> bytes:
    """As Xauthority's file has it."""
    fields = (address, number, b"MIT-MAGIC-COOKIE-1", cookie)
    return family.to_bytes(2, "big") + b"".join(len(one).to_bytes(2, "big") + one for one in fields)


def test_windows_come_with_the_displays_own_cookies_which_are_in_no_word(tmp_path: Path) -> None:
    file = (
        entry(256, b"laptop", b"1", b"secret") + entry(256, b"laptop", b"0", b"another") + entry(0, b"x", b"", b"all")
    )
    (tmp_path / ".Xauthority").write_bytes(file + entry(256, b"laptop", b"1", b"torn")[:-1])
    display = x_display.find({"DISPLAY": ":1.0"}, tmp_path)
    assert display.cookies == entry(65535, b"", b"1", b"secret") + entry(65535, b"", b"1", b"all")
    host = Host({})
    box.start(host, box.BoxSpec("lab", "img", "7:8", display=display))
    assert "--env DISPLAY=:1.0" in host.asked[1] and "--volume /tmp/.X11-unix:/tmp/.X11-unix:ro" in host.asked[1]
    assert "MPLBACKEND=Agg" not in host.asked[1]
    assert host.given[-1] == display.cookies
    assert "secret" not in " ".join(host.asked)


def test_a_box_with_windows_gets_new_cookies_when_it_starts_and_another_gets_none(tmp_path: Path) -> None:
    (tmp_path / "auth").write_bytes(entry(256, b"laptop", b"1", b"new"))
    display = x_display.find({"DISPLAY": ":1", "XAUTHORITY": str(tmp_path / "auth")}, tmp_path)
    shows = Host({**there().answers, "docker inspect": Result(0, ":1\n")})
    box.wake(shows, "lab", display)
    assert shows.given[-1] == display.cookies
    plain = Host({**there().answers, "docker inspect": Result(0, "\n")})
    box.wake(plain, "lab", display)
    assert set(plain.given) == {None}


@pytest.mark.parametrize(("environment", "told"), [({}, "no DISPLAY"), ({"DISPLAY": "far:10"}, "not this laptop's")])
def test_what_is_no_display_of_this_laptops_is_refused(environment: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        x_display.find(environment, tmp_path)


def test_a_cookie_file_that_cannot_be_read_is_named_and_none_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path} cannot be read"):
        x_display.find({"DISPLAY": ":1", "XAUTHORITY": str(tmp_path)}, tmp_path)
    assert x_display.find({"DISPLAY": ":1"}, tmp_path).cookies == b""


@pytest.mark.parametrize("bad", ["data:/x:ro:rw", "/a", "/a:b", ":/b", "../a:/b", "/a:/b:rx"])
def test_what_is_no_volume_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="no volume"):
        box.start_words(box.BoxSpec("lab", "img", "7:8", volumes=(bad,)))


@pytest.mark.parametrize("bad", ["0", "80:", "x", "70000", "1:2:3"])
def test_what_is_no_port_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="no port"):
        box.start_words(box.BoxSpec("lab", "img", "7:8", ports=(bad,)))


def test_a_box_that_is_there_is_not_made_again() -> None:
    host = there()
    with pytest.raises(UsageError, match="there is a box lab already"):
        box.start(host, SPEC)
    assert not [line for line in host.asked if line.startswith(("docker run", "docker rm"))]


@pytest.mark.parametrize("failing", ["docker run", "docker exec"])
def test_a_box_that_cannot_be_started_leaves_no_container(failing: str) -> None:
    host = Host({failing: HostError("no")})
    with pytest.raises(HostError):
        box.start(host, SPEC)
    assert host.asked[-1] == "docker rm --force --volumes provision-box-lab"


def test_an_older_engines_status_is_read() -> None:
    (one,) = box.boxes(there())
    assert (one.name, one.status, one.image) == ("lab", "exited", "my:1")


def test_an_unknown_box_names_those_that_are_there() -> None:
    with pytest.raises(NotFoundError, match="no box 'lob'") as caught:
        box.get(there(), "lob")
    assert caught.value.mend == "there are: lab"


def test_removing_takes_the_home_unless_it_is_kept() -> None:
    host = there()
    box.remove(host, "lab", keep_home=True)
    assert not any("volume rm" in line for line in host.asked)
    box.remove(host, "lab")
    assert host.asked[-1] == "docker volume rm --force provision-box-lab-home"


@pytest.mark.parametrize("bad", ["provision/caffe:mine", "Upper", "a b", ""])
def test_a_commit_takes_no_name_that_says_something_else(bad: str) -> None:
    with pytest.raises(UsageError):
        box.commit(there(), "lab", bad)


def test_a_machines_tags_tell_of_its_boxes_and_not_of_those_that_are_gone() -> None:
    assert box.noted({"provision:box:b": "img:2", "provision:box:a": "", "provision:name": "lab"}) == {"b": "img:2"}


def test_gpus_are_asked_for_in_the_hosts_way() -> None:
    def words(gpus: GpuRequest) -> list[str]:
        return box.start_words(box.BoxSpec("lab", "img", "7:8", gpus))

    assert "--gpus" not in words(GpuRequest()) and "nvidia" not in words(GpuRequest())
    assert '"device=0,2"' in words(GpuRequest((0, 2)))
    assert "NVIDIA_VISIBLE_DEVICES=0,2" in words(GpuRequest((0, 2), runtime=True))
