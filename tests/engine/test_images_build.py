"""Images for real: BuildKit builds the rendered Dockerfile, and what comes out trains."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from images.bake import write as write_bake
from images.build import Image, Order, build, build_context, existing, listed, remove, tag_of
from images.check import check
from images.choose import choose
from images.lock import fixed
from images.lock import make as make_lock
from images.push import push
from images.render import Context, render
from images.source import Source, pack_folder
from infra import baseimage, basepin, buildx
from infra.errors import DiskError, ImageError
from infra.shell import LocalShell
from infra.userssh import UserShell
from infra.userssh import address as ssh_address
from provision.cli import run

pytestmark = pytest.mark.engine
SHELL = LocalShell()


@pytest.fixture(scope="module")
def caffe() -> Image:
    return build(choose("caffe-debian"), SHELL)


def test_every_check_passes_in_the_built_image(caffe: Image) -> None:
    results = check(caffe, SHELL)
    assert [one.name for one in results] == ["user", "caffe-version", "blas", "caffe-trains", "pycaffe"]
    assert all(one.ok for one in results), results


def test_a_second_build_does_nothing(caffe: Image) -> None:
    begun = time.monotonic()
    again = build(choose("caffe-debian"), SHELL)
    assert not again.built
    assert (again.digest, again.tag) == (caffe.digest, caffe.tag)
    assert time.monotonic() - begun < 3


def test_the_image_is_whole_small_and_says_what_it_is(caffe: Image) -> None:
    state = SHELL.run(buildx.run_words(caffe.tag, ["sh", "-c", "dpkg --audit; ls /var/lib/apt/lists"])).out
    assert state.split() in ([], ["lock", "partial"]), "packages half installed, or lists left behind"
    found = buildx.inspect(SHELL, caffe.tag)
    assert found is not None and found.size < 650e6
    assert found.labels["org.opencontainers.image.revision"] == "99bd997"
    assert found.labels["provision.row"] == "cpu-debian11"


def test_a_build_that_fails_leaves_no_tag_and_says_why() -> None:
    text = "FROM debian:bullseye\nRUN echo the reason is this; exit 3\n"
    broken = Context(choose("caffe-debian"), (("Dockerfile", text),))
    with pytest.raises(ImageError, match="the reason is this") as error:
        build_context(broken, SHELL)
    assert "exit code: 3" in error.value.what
    assert buildx.inspect(SHELL, broken.tag) is None


def test_a_full_disk_is_said_with_its_mend_and_leaves_no_tag() -> None:
    text = "FROM debian:bullseye\nRUN cp /etc/passwd /dev/full\n"
    full = Context(choose("caffe-debian"), (("Dockerfile", text),))
    with pytest.raises(DiskError, match="No space left on device") as error:
        build_context(full, SHELL)
    assert "docker system prune" in error.value.mend
    assert buildx.inspect(SHELL, full.tag) is None


def test_a_tag_of_someone_else_is_not_taken_for_ours(caffe: Image) -> None:
    text = "FROM debian:bullseye\n# tagged by hand\n"
    context = Context(choose("caffe-debian"), (("Dockerfile", text),))
    SHELL.run(["docker", "tag", caffe.tag, context.tag])
    try:
        assert existing(context, SHELL) is None
    finally:
        SHELL.run(["docker", "image", "rm", context.tag])


def test_the_commands_tell_the_same(caffe: Image, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "build", "caffe-debian"]) == 0
    assert f"{caffe.tag} is there already" in capsys.readouterr().out
    assert run(["image", "build", "caffe-debian", "--dry-run"]) == 0
    assert f"{caffe.tag} is there already" in capsys.readouterr().out
    assert run(["image", "check", "caffe-debian"]) == 0
    assert re.search(r"caffe-trains +ok", capsys.readouterr().out)
    assert run(["image", "ls"]) == 0
    assert caffe.tag in capsys.readouterr().out
    assert caffe.tag in [one.tag for one in listed(SHELL)]
    found = existing(render(choose("caffe-debian")), SHELL)
    assert found is not None and found.digest == caffe.digest


def context(*lines: str) -> Context:
    """A Dockerfile of these lines on Debian 11."""
    return Context(choose("caffe-debian"), (("Dockerfile", "\n".join(["FROM debian:bullseye", *lines, ""])),))


def test_a_killed_builds_image_is_not_taken_for_one_that_works() -> None:
    """Its client may outlive the build's own process, and may make it whole: nobody has checked it then."""
    long = context(f"RUN echo begun at last {time.time()}; sleep 8")  # no step of an earlier run
    code = (
        "from images.build import build_context; from infra.shell import LocalShell; from images.render import Context;"
        "from images.choose import choose; import sys; context = Context(choose('caffe-debian'), "
        "(('Dockerfile', sys.argv[1]),)); build_context(context, LocalShell(), print, unchecked=True)"
    )
    words = [sys.executable, "-u", "-c", code, long.dockerfile]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    assert any(re.search(r"^#\d+ [\d.]+ begun at last", line) for line in process.stdout)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(12)
    try:
        assert buildx.inspect(SHELL, long.tag) is None
        assert existing(long, SHELL) is None
    finally:
        SHELL.run(buildx.untag_words(f"{long.tag}-unchecked"), check=False)


MARK = "aW4gYSBzZWNyZXQsIGFuZCBub3doZXJlIGVsc2U"


def test_the_networks_secrets_are_there_in_a_step_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(f"-----BEGIN CERTIFICATE-----\n{MARK}\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(bundle))
    monkeypatch.setenv("PIP_INDEX_URL", f"https://user:{MARK}@index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/opt/somewhere")
    both = "--mount=type=secret,id=ca --mount=type=secret,id=pip"
    look = "grep -c '^aW4gYSBz' /run/secrets/ca && grep -c 'user:aW4g' /run/secrets/pip && echo both are here"
    made = build_context(
        context(f"RUN {both} {look} && ! grep somewhere /run/secrets/pip && date > /built"), SHELL, no_cache=True
    )
    try:
        history = SHELL.run(["docker", "history", "--no-trunc", made.tag]).out
        assert "grep -c" in history and MARK not in history
        saved = tmp_path / "image.tar"
        SHELL.run(["docker", "save", "-o", str(saved), made.tag])
        assert MARK.encode() not in saved.read_bytes()
        assert not SHELL.run(["sh", "-c", f"grep -ls {MARK} /tmp/provision-secrets.*/*"], check=False).out
    finally:
        remove(made, SHELL)


def test_a_source_tree_goes_in_and_a_stage_has_a_tag_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "note").write_text("from the tree")
    tar = pack_folder(tmp_path / "tree", tmp_path / "s.tar")
    text = """\
FROM debian:bullseye AS devel
ARG REVISION=pinned
COPY source.* /
RUN tar -xf /source.tar && echo " $REVISION" >> /note
FROM devel AS runtime
RUN exit 3
"""
    staged = Context(choose("caffe-debian"), (("Dockerfile", text),))
    order = Order(Source("tree", "unknown", tar), "devel")
    made = build_context(staged, SHELL, order=order)
    try:
        assert made.tag.endswith("-devel") and made.tag == tag_of(staged, order)
        said = SHELL.run(buildx.run_words(made.tag, ["cat", "/note"])).out
        assert said == "from the tree unknown\n"
        found = existing(staged, SHELL, order)
        assert found is not None and not found.built and existing(staged, SHELL) is None
    finally:
        remove(made, SHELL)


def test_bake_reads_the_file_and_builds_what_build_would(caffe: Image, tmp_path: Path) -> None:
    assert run(["image", "bake", "caffe-debian", "--out", str(tmp_path)]) == 0
    seen = SHELL.run(["sh", "-c", 'cd "$1" && docker buildx bake --print', "bake", str(tmp_path)]).out
    [target] = json.loads(seen)["target"].values()
    assert target["tags"] == [caffe.tag] and target["platforms"] == ["linux/amd64"]
    assert json.loads(seen)["group"]["default"]["targets"] == ["caffe-debian_cpu-debian11"]
    if (tmp_path / "secrets").exists():
        assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    (tmp_path / "secrets").mkdir(exist_ok=True)
    for name in ("ca", "pip", "note"):
        (tmp_path / "secrets" / name).write_text("of an earlier time")
    assert run(["image", "bake", "caffe-debian", "--out", str(tmp_path)]) == 0
    left = [path.name for path in (tmp_path / "secrets").iterdir() if path.read_text() == "of an earlier time"]
    assert left == ["note"]
    assert "secrets/note" not in (tmp_path / "docker-bake.json").read_text()
    small = context("RUN echo small > /small")
    write_bake([small], tmp_path / "small", "runtime", {}, {})
    bake = 'cd "$1" && docker buildx bake --builder default caffe-debian'
    SHELL.run(["sh", "-c", bake, "bake", str(tmp_path / "small")])
    found = existing(small, SHELL)
    assert found is not None
    remove(found, SHELL)


def test_bake_leaves_no_password_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:s3cret@index.example/simple")
    assert run(["image", "bake", "caffe-debian", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "pip's configuration holds a password" in said
    assert 'PROVISION_BUILD_PIP="$(provision image secret pip)" docker buildx bake' in said
    assert all("s3cret" not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert run(["image", "secret", "pip"]) == 0
    config = capsys.readouterr().out
    assert "index-url = https://user:s3cret@index.example/simple" in config
    asks = context("RUN --mount=type=secret,id=pip grep -q s3cret /run/secrets/pip && echo found > /found")
    write_bake([asks], tmp_path / "asks", "runtime", {"pip": "env=PROVISION_BUILD_PIP"}, {})
    bake = 'cd "$1" && docker buildx bake --builder default caffe-debian'
    SHELL.run(["sh", "-c", bake, "bake", str(tmp_path / "asks")], env={"PROVISION_BUILD_PIP": config})
    found = existing(asks, SHELL)
    assert found is not None
    remove(found, SHELL)


@pytest.fixture(scope="module")
def services() -> Iterator[str]:
    """A container with a registry and an SSH server, which has this engine; its name."""
    baseimage.ensure("debian:bookworm")
    text = (
        "FROM debian:bookworm\nRUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq"
        " --no-install-recommends docker-registry openssh-server && mkdir -p /run/sshd\n"
    )
    tag = "provision-test-services:bookworm"
    SHELL.run(["docker", "buildx", "build", "--builder", "default", "--load", "-t", tag, "-"], stdin=text.encode())
    name = f"provision-test-services-{os.getpid()}"
    mounts = ["/var/run/docker.sock", "/usr/bin/docker", "/usr/libexec/docker", "/usr/lib/docker"]
    words = [word for path in mounts if Path(path).exists() for word in ("--volume", f"{path}:{path}")]
    ports = [word for inside in (22, 5000, 5001) for word in ("--publish", f"127.0.0.1::{inside}")]
    # Debian's own configuration asks for a password (5000); one without (5001)
    free = "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/free}}\nhttp: {addr: ':5001'}\n"
    serve = (
        f"/usr/sbin/sshd; printf '%b' \"{free}\" > /free.yml; docker-registry serve /free.yml &"
        " exec docker-registry serve /etc/docker/registry/config.yml"
    )
    SHELL.run(["docker", "run", "--detach", "--rm", "--name", name, *ports, *words, tag, "sh", "-c", serve])
    try:
        yield name
    finally:
        SHELL.run(["docker", "rm", "--force", name], check=False)


def port(services: str, inside: int) -> str:
    return SHELL.run(["docker", "port", services, str(inside)]).out.strip().rpartition(":")[2]


def test_an_image_is_pushed_and_can_be_pulled_by_its_digest(services: str) -> None:
    made = build_context(context("RUN echo pushed > /pushed"), SHELL)
    name = f"localhost:{port(services, 5001)}/team/caffe"
    try:
        pushed = push(made, name, SHELL)
        assert pushed.name == f"{name}:{made.tag.rpartition(':')[2]}"
        SHELL.run(["docker", "image", "rm", pushed.name])
        SHELL.run(["docker", "pull", "--quiet", f"{name}@{pushed.digest}"])
        SHELL.run(["docker", "image", "rm", f"{name}@{pushed.digest}"])
    finally:
        remove(made, SHELL)


def test_a_locked_base_stays_what_it_was_when_its_name_means_another(services: str) -> None:
    name = f"localhost:{port(services, 5001)}/team/base:v1"
    text = f"FROM {name} AS runtime\nRUN cat /which > /kept\n"
    target = choose("caffe-debian")

    def published(which: str) -> None:
        made = build_context(context(f"RUN echo {which} > /which"), SHELL)
        push(made, name, SHELL)
        remove(made, SHELL)
        SHELL.run(["docker", "image", "rm", name], check=False)

    published("first")
    pin = basepin.pin(name, SHELL)
    assert pin.digest and basepin.pin(name, SHELL) == pin
    lock = make_lock(target, {name: pin}, datetime.now(timezone.utc))
    locked = Context(target, tuple(fixed({"Dockerfile": text}, lock, target).items()), lock)
    published("second")
    renewed = basepin.pin(name, SHELL)
    assert renewed.digest != pin.digest
    made = build_context(locked, SHELL, no_cache=True)
    try:
        assert SHELL.run(buildx.run_words(made.tag, ["cat", "/kept"])).out == "first\n"
    finally:
        remove(made, SHELL)
        SHELL.run(["docker", "image", "rm", basepin.with_digest(name, pin.digest)], check=False)
    gone = make_lock(target, {name: basepin.Pin("sha256:" + "0" * 64)}, datetime.now(timezone.utc))
    with pytest.raises(ImageError, match="cannot be pulled, and the lock allows no other") as error:
        build_context(Context(target, tuple(fixed({"Dockerfile": text}, gone, target).items()), gone), SHELL)
    assert "provision image update caffe-debian" in error.value.mend


def test_a_push_that_fails_says_why_and_leaves_no_tag(services: str) -> None:
    asking = f"localhost:{port(services, 5000)}"
    made = build_context(context("RUN echo pushed > /pushed"), SHELL)
    try:
        for registry, mend in ((asking, f"docker login {asking}"), ("localhost:1", "does localhost:1 answer?")):
            with pytest.raises(ImageError, match="cannot be pushed") as error:
                push(made, f"{registry}/caffe:v1", SHELL)
            assert mend in error.value.mend
            assert buildx.inspect(SHELL, f"{registry}/caffe:v1") is None
    finally:
        remove(made, SHELL)


@pytest.fixture
def host(services: str, tmp_path: Path) -> UserShell:
    """The container as a host that a user logs in to, with a key and a known_hosts of their own."""
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    SHELL.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id_ed25519")])
    inside = ["docker", "exec", services, "sh", "-c"]
    public = (folder / "id_ed25519.pub").read_text()
    SHELL.run([*inside, 'mkdir -p /root/.ssh; echo "$1" > /root/.ssh/authorized_keys', "sh", public])
    key = SHELL.run([*inside, "cat /etc/ssh/ssh_host_ed25519_key.pub"]).out.split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port(services, 22)} {key[0]} {key[1]}\n")
    (folder / "config").write_text(f"Host 127.0.0.1\n  IdentityFile {folder}/id_ed25519\n")
    at = ssh_address(f"ssh://root@127.0.0.1:{port(services, 22)}", tmp_path)
    return UserShell(at, at.alias)


def test_an_image_is_built_and_checked_on_another_host(host: UserShell) -> None:
    said: list[str] = []
    far = context("RUN echo far away > /far")
    with host:
        made = build_context(far, host, said.append)
        try:
            assert made.built and any("echo far away" in line for line in said)
            assert made.tag in [one.tag for one in listed(host)]
            found = existing(far, host)
            assert found is not None and found.digest == made.digest
            assert not any(one.ok for one in check(made, host)), "it has no Caffe"
            left = host.run(["sh", "-c", "ls -d /tmp/provision-secrets.* 2>/dev/null"], check=False).out
            assert left == "", "secrets were left on the host"
        finally:
            remove(made, host)


def test_an_unknown_host_is_sent_nothing(services: str, tmp_path: Path) -> None:
    from infra.errors import HostKeyError

    at = ssh_address(f"ssh://root@127.0.0.1:{port(services, 22)}", tmp_path)
    with pytest.raises(HostKeyError, match=r"host key of 127\.0\.0\.1 is not in") as error:
        UserShell(at, at.alias).run(["true"])
    assert "ssh -p" in error.value.mend
