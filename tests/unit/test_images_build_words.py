"""What is said to docker: tags that tell sources and stages apart, words, secrets, bake's file, names to push to."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest

from images.bake import Baked, bake_file
from images.build import Image, Order, bases, build_context, hash_of, keep, stage_in, tag_of, tar_of
from images.choose import choose
from images.prove import Proof, Race, last_json, ratios, read_race
from images.push import full_name
from images.render import Context
from images.source import PINNED, Source, pack_folder
from images.target import Target
from infra import buildsecrets, buildx
from infra.errors import DiskError, ImageError, UsageError
from infra.shell import LocalShell, Result, Words
from infra.userssh import address

DOCKERFILE = """\
FROM debian:bookworm AS base
FROM base AS source
FROM base AS build
COPY --from=source /src /src
FROM build AS devel
FROM debian:bookworm-slim AS runtime-base
FROM runtime-base AS runtime-nopython
FROM runtime-base AS runtime
"""


def caffe_debian() -> Target:
    return choose("caffe-debian")


def context(dockerfile: str = DOCKERFILE) -> Context:
    return Context(caffe_debian(), (("Dockerfile", dockerfile),))


# tags


def test_the_pinned_commit_has_one_tag_wherever_it_comes_from(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    tar.write_bytes(b"tar")
    usual = tag_of(context())
    assert usual == context().tag
    for source in (PINNED, Source(url="https://example.org/caffe"), Source("mirror", None, tar)):
        assert tag_of(context(), Order(source)) == usual


def test_another_tree_and_another_stage_have_tags_of_their_own(tmp_path: Path) -> None:
    tars = [tmp_path / name for name in ("a.tar", "b.tar")]
    for tar in tars:
        tar.write_bytes(tar.name.encode())
    orders = [
        Order(),
        Order(stage="devel"),
        *(Order(Source("tree", "unknown", tar)) for tar in tars),
        Order(Source("debian", "99bd997", tars[0])),
    ]
    tags = [tag_of(context(), order) for order in orders]
    assert len(set(tags)) == len(tags)
    assert tags[1] == f"{tags[0]}-devel"
    assert all(tag.startswith("provision/caffe-debian:cpu-debian11-") for tag in tags)
    assert hash_of(context(), orders[1]) == context().hash


def test_the_tar_for_docker_holds_context_and_source_and_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.cpp").write_text("int main() {}\n")
    source = Source("tree", "unknown", pack_folder(tmp_path / "tree", tmp_path / "s.tar"))
    made = tar_of(context(), Order(source))
    assert made == tar_of(context(), Order(source))
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        assert tar.getnames() == ["Dockerfile", "source.tar"]
        inner = tar.extractfile("source.tar")
        assert inner is not None and inner.read() == (tmp_path / "s.tar").read_bytes()
    assert tar_of(context()) == context().tar()


def test_a_stage_needs_only_the_bases_before_it() -> None:
    assert bases(DOCKERFILE) == ["debian:bookworm", "debian:bookworm-slim"]
    assert bases(DOCKERFILE, "devel") == ["debian:bookworm"]
    assert bases("FROM debian:bullseye\n") == ["debian:bullseye"]


def test_a_stage_that_is_not_there_is_refused() -> None:
    assert stage_in(context(), Order()) is None
    assert stage_in(context(), Order(stage="devel")) == "devel"
    with pytest.raises(UsageError, match="no stage suite") as error:
        stage_in(context(), Order(stage="suite"))
    assert error.value.mend == "it has runtime, runtime-nopython, devel, build"
    with pytest.raises(UsageError, match="no stage devel") as error:
        stage_in(context("FROM debian:bullseye\n"), Order(stage="devel"))
    assert error.value.mend == "leave --stage out: it has runtime only"


def test_a_stage_without_python_is_not_asked_for_pycaffe() -> None:
    def checks(stage: str) -> tuple[str, ...]:
        return Image("a:b", "sha256:1", caffe_debian(), stage=stage).checks  # type: ignore[arg-type]

    assert "pycaffe" in checks("runtime") and "pycaffe" in checks("devel")
    assert "pycaffe" not in checks("runtime-nopython") and "caffe-trains" in checks("runtime-nopython")
    assert checks("suite") == ()


def test_an_image_to_be_checked_has_no_tag_that_could_be_taken_for_its_own() -> None:
    asked: list[list[str]] = []

    class Engine(LocalShell):
        def run(self, words: Words, **more: object) -> Result:
            asked.append(list(words))
            found = [{"Id": "sha256:1", "Config": {"Labels": {}}}]
            return Result(0, json.dumps(found) if "inspect" in words else "")

    made = build_context(context(), Engine(), unchecked=True)
    [build] = [words for words in asked if "build" in words]
    assert build[build.index("--tag") + 1] == f"{context().tag}-unchecked"
    assert made.tag == f"{context().tag}-unchecked"
    asked.clear()
    kept = keep(made, Engine())
    assert kept.tag == context().tag and kept.built
    last = [buildx.tag_words("sha256:1", context().tag), buildx.unstarted_words(made.tag), buildx.untag_words(made.tag)]
    assert asked == last


# words


def test_the_words_name_stage_arguments_and_secrets() -> None:
    words = buildx.build_words(
        "a:b", {}, stage="devel", arguments={"SOURCE": "https://x"}, secrets={"ca": "/t/ca"}, no_cache=True
    )
    line = " ".join(words)
    for part in ("--target devel", "--build-arg SOURCE=https://x", "--secret id=ca,src=/t/ca", "--no-cache"):
        assert part in line
    assert line.endswith("--tag a:b -") and "--platform linux/amd64" in line
    plain = " ".join(buildx.build_words("a:b", {}))
    assert not any(part in plain for part in ("--target", "--build-arg", "--secret", "--no-cache"))


GCC = (
    """\
#9 12.0 src/caffe/util/io.cpp:76:40: error: 'CV_LOAD_IMAGE_COLOR' was not declared in this scope
#9 12.1 more
------
 > [build 3/4] RUN make:
"""
    + "".join(f"{at}.0 CXX file{at}.cpp\n" for at in range(30))
    + """\
------
ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""
)


def test_a_compile_error_is_shown_though_make_went_on_and_has_a_mend() -> None:
    error = buildx.failure(Result(1, err=GCC), "the image could not be built", lines=20)
    assert "CV_LOAD_IMAGE_COLOR" in error.what and "exit code: 2" in error.what
    assert "another row" in error.mend


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("cannot get 9b891540 of https://github.com/BVLC/caffe: give a copy", "--source-mirror"),
        ("fatal: unable to access: SSL certificate problem: unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("cc1plus: fatal: write /tmp/x: No space left on device", "docker system prune"),
        ("caffe.cu(12): error: identifier is undefined", "another row"),
        ("ERROR: failed to solve: exit code: 1", ""),
    ],
)
def test_each_way_to_fail_has_its_mend(said: str, mend: str) -> None:
    error = buildx.failure(Result(1, err=said), "cannot build")
    assert isinstance(error, DiskError if "No space" in said else ImageError)
    assert mend in error.mend and bool(mend) == bool(error.mend)


# secrets


def test_pips_configuration_keeps_what_a_container_can_use() -> None:
    files = [
        "[global]\nindex-url = http://one.example/simple\nfind-links = /opt/wheels\ncert = /etc/ca.crt\n",
        "[install]\nextra-index-url = file:///opt/simple\n  https://user:word@two.example/simple\n",
        "no configuration at all",
    ]
    text = buildsecrets.pip_config(files, {"PIP_TRUSTED_HOST": "one.example", "PIP_CERT": "/x"})
    assert text == (
        "[global]\nindex-url = http://one.example/simple\n"
        "extra-index-url = https://user:word@two.example/simple\ntrusted-host = one.example\n"
    )


def test_a_variable_is_stronger_than_a_file_and_nothing_said_is_nothing_written() -> None:
    variables = {"PIP_INDEX_URL": "https://three.example/simple"}
    assert "three.example" in buildsecrets.pip_config(["[global]\nindex-url=http://one.example\n"], variables)
    assert buildsecrets.pip_config(["[global]\nextra-index-url = file:///opt/simple\n"], {}) == ""


# bake


def test_a_user_in_an_address_is_taken_for_a_password() -> None:
    for text in ("index-url = https://me:s3cret@x.example/simple", "debian_snapshot=https://token@x.example/archive"):
        assert buildsecrets.holds_password(text)
    assert not buildsecrets.holds_password("index-url = https://x.example/simple\ntrusted-host = me@x.example")


def test_places_of_ended_releases_are_told_by_their_settings() -> None:
    given = {"PROVISION_DEBIAN_SNAPSHOT": "https://x.example/archive", "PROVISION_UBUNTU_ARCHIVE": "", "HOME": "/root"}
    assert buildsecrets.apt_places(given) == "debian_snapshot=https://x.example/archive\n"
    assert buildsecrets.apt_places({}) == ""


def test_bakes_file_has_groups_tags_labels_and_secrets_only_where_there_are(tmp_path: Path) -> None:
    ssd = dataclasses.replace(caffe_debian(), gpus=())
    baked = [Baked(context(), Order(), "caffe-debian/cpu-debian11")]
    raw = json.loads(bake_file(baked, {"ca": "src=secrets/ca", "pip": "env=PROVISION_BUILD_PIP"}))
    [name] = raw["group"]["default"]["targets"]
    assert name == "caffe-debian_cpu-debian11" and raw["group"]["caffe-debian"]["targets"] == [name]
    target = raw["target"][name]
    assert target["tags"] == [context().tag] and target["platforms"] == ["linux/amd64"]
    assert target["labels"] == {"provision.context": context().hash}
    assert target["secret"] == ["id=ca,src=secrets/ca", "id=pip,env=PROVISION_BUILD_PIP"]
    assert ssd.name.replace(":", "_") == name
    plain = json.loads(bake_file(baked))["target"][name]
    assert not {"secret", "args", "target"} & set(plain)
    devel = Baked(context(), Order(Source(url="https://x.example"), "devel"), "f")
    assert json.loads(bake_file([devel]))["target"][name]["args"] == {"SOURCE": "https://x.example"}
    assert bake_file(baked) == bake_file(baked)


# push


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("localhost:5000/caffe", "localhost:5000/caffe:cpu-1"),
        ("registry.example/team/caffe:v1", "registry.example/team/caffe:v1"),
        ("someone/caffe", "someone/caffe:cpu-1"),
    ],
)
def test_a_name_without_tag_gets_the_images_own(name: str, full: str) -> None:
    assert full_name(Image("provision/caffe:cpu-1", "sha256:1", caffe_debian()), name) == full


@pytest.mark.parametrize("name", ["Registry.example/Caffe", "", "https://registry.example/caffe", "a:b:c", "a b"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name an image"):
        full_name(Image("provision/caffe:cpu-1", "sha256:1", caffe_debian()), name)


# proof


def test_a_race_is_read_and_a_death_is_told() -> None:
    line = '{"mode": "threads", "threads": 2, "passes": 80, "wrong_forward": 50, "wrong_gradient": 78}'
    wrong = read_race(Result(1, f"Net built\n{line}\n"), 2, 40)
    assert (wrong.passes, wrong.wrong_forward, wrong.wrong_gradient, wrong.right) == (80, 50, 78, False)
    ended = read_race(Result(buildx.ENDED, "Net built\n", "noise\nit did not end within 60 s"), 2, 40)
    assert (ended.wrong, ended.right) == ("it did not end within 60 s", False)
    died = read_race(Result(134, "", "F1121 blob.cpp:34] Check failed: blob size exceeds INT_MAX\n*** Aborted"), 4, 40)
    assert died.died == "died (134): Check failed: blob size exceeds INT_MAX" and not died.right
    assert last_json("{no json\nx") is None


def test_a_ratio_needs_the_unshared_variant() -> None:
    def proof(variant: str, peak: int) -> Proof:
        return Proof(variant, "a:b", (Race(1, 40, 0, 0),), Race(2, 80, 0, 0), 1, peak, 1.0)  # type: ignore[arg-type]

    assert ratios([proof("none", 5775), proof("ours", 3629)]) == {"none": 1.0, "ours": 0.628}
    assert ratios([proof("ours", 3629)]) == {}
    assert proof("ours", 1).right


# hosts


def test_a_host_is_reached_as_its_users_ssh_would(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host box\n  HostName 10.0.0.7\n  User builder\n  Port 2222\n")
    at = address("ssh://box", tmp_path)
    assert (at.host, at.user, at.port, at.alias) == ("10.0.0.7", "builder", 2222, "box")
    at = address("ssh://me@other.example:24", tmp_path)
    assert (at.host, at.user, at.port) == ("other.example", "me", 24)
    for bad in ("ssh://", "http://x", "ssh://x/folder", "ssh://x:port"):
        with pytest.raises(UsageError, match="no address"):
            address(bad, tmp_path)
