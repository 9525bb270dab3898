"""Images of ECR: their names, the digest that a name has now, the plan and the manifest of a training of one."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from infra.aws import ecr
from infra.ecr_name import EcrName, parse
from infra.errors import AuthError, NotFoundError, UsageError
from provision.clouds import Session
from provision.engines import begin
from provision.hosts import image as images
from provision.settings import Settings
from provision.training import kept, start
from provision.training.request import Host, TrainRequest, refuse_registry, resolve
from tests.unit.fake_aws import CLOUD, FakeAws, Refused

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DIGEST = "sha256:" + "a" * 64
THERE = replace(CLOUD, region="eu-west-1")  # the registry's region, which is not the run's


@pytest.mark.parametrize(
    ("words", "repository", "tag", "digest"),
    [("caffe:1", "caffe", "1", ""), (f"team/caffe-gpu@{DIGEST}", "team/caffe-gpu", "", DIGEST),
     ("a/b_c/d.e:V1.2-x", "a/b_c/d.e", "V1.2-x", "")],
)  # fmt: skip
def test_names_of_ecr(words: str, repository: str, tag: str, digest: str) -> None:
    assert parse(f"{HOST}/{words}") == EcrName(HOST, "123456789012", "eu-west-1", repository, tag, digest)


@pytest.mark.parametrize(
    "words",
    ["caffe", "caffe:cuda11.8-cudnn8.7-debian12@V100", "provision/caffe:x-0123456789ab", "registry.example.org/caffe:1",
     "123.dkr.ecr.eu-west-1.amazonaws.com/x:1"],
)  # fmt: skip
def test_what_is_no_name_of_ecr(words: str) -> None:
    assert parse(words) is None


@pytest.mark.parametrize(
    "words",
    ["caffe", "", ":1", "Caffe:1", "caffe:1@" + DIGEST, "caffe@sha256:12", "../x:1", "caffe:1 --privileged",
     "caffe:" + "x" * 129, "caffe@" + DIGEST.upper()],
)  # fmt: skip
def test_a_registry_with_what_names_no_image_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="names no image of ECR") as refused:
        parse(f"{HOST}/{words}")
    assert f"{HOST}/NAME:TAG" in refused.value.mend


def named(words: str) -> EcrName:
    found = parse(f"{HOST}/{words}")
    assert found is not None
    return found


def test_a_tag_is_asked_for_at_its_own_registry_and_region() -> None:
    aws = FakeAws(THERE, DescribeImages={"imageDetails": [{"imageDigest": DIGEST}]})
    assert ecr.digest(CLOUD, named("caffe:1")) == DIGEST
    assert aws.of("DescribeImages") == [
        {"registryId": "123456789012", "repositoryName": "caffe", "imageIds": [{"imageTag": "1"}]}
    ]


@pytest.mark.parametrize("code", ["RepositoryNotFoundException", "ImageNotFoundException"])
def test_an_image_that_is_not_there(code: str) -> None:
    FakeAws(THERE, DescribeImages=Refused(code))
    with pytest.raises(NotFoundError, match="has no image caffe:1") as refused:
        ecr.digest(CLOUD, named("caffe:1"))
    assert "--repository-name caffe" in refused.value.mend and "--region eu-west-1" in refused.value.mend
    FakeAws(THERE, DescribeImages=Refused("AccessDeniedException"))
    with pytest.raises(AuthError):
        ecr.digest(CLOUD, named("caffe:1"))


def test_a_registry_of_another_partitions_address_is_no_registry() -> None:
    """Its token would be sent to whoever has that name."""
    found = parse("123456789012.dkr.ecr.eu-west-1.evil.example/caffe:1")
    assert found is not None
    with pytest.raises(UsageError, match="is no registry of ECR's in eu-west-1") as refused:
        ecr.digest(CLOUD, found)
    assert HOST in refused.value.mend


@pytest.mark.parametrize("host", [Host(), Host("p3.2xlarge", 1, "V100", "535.1")])
def test_it_stands_in_for_the_image_of_the_recipes_own_stack(host: Host) -> None:
    usual = resolve(TrainRequest("digits", {}), host)
    plan = resolve(TrainRequest("digits", {}, image=f"{HOST}/caffe:1"), host)
    assert plan.image == f"{HOST}/caffe:1"
    assert (plan.stack, plan.target, plan.gpus) == (usual.stack, usual.target, usual.gpus)
    with pytest.raises(UsageError, match="names no image of ECR"):
        resolve(TrainRequest("digits", {}, image=f"{HOST}/caffe"), host)


def test_what_it_is_taken_for_may_be_said() -> None:
    """The recipe's own stack has no CUDA: a training in an image of it would use no GPU."""
    host, target = Host("p3.2xlarge", 1, "V100", "535.1"), "caffe:cuda11.8-cudnn8.7-debian12"
    usual = resolve(TrainRequest("digits", {}, image=target), host)
    plan = resolve(TrainRequest("digits", {}, image=f"{target}={HOST}/caffe:1"), host)
    assert plan.uses_gpus and plan.image == f"{HOST}/caffe:1"
    assert (plan.stack, plan.target, plan.rendered) == (usual.stack, usual.target, usual.rendered)
    with pytest.raises(UsageError, match="begins by itself"):
        refuse_registry(f"{target}={HOST}/caffe:1")
    for wrong in (f"nonsense={HOST}/caffe:1", f"{target}=caffe:1", f"{target}={HOST}/caffe"):
        with pytest.raises(UsageError):
            resolve(TrainRequest("digits", {}, image=wrong), host)


def test_a_run_has_it_by_the_digest_that_its_tag_had(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeAws()  # of the run's region
    FakeAws(THERE, DescribeImages={"imageDetails": [{"imageDigest": DIGEST}]})
    plan = resolve(TrainRequest("digits", {}, image=f"{HOST}/caffe:1"))
    seen: list[images.RunImage] = []

    def stop(_: Any, __: Any, image: images.RunImage, *___: Any) -> Any:
        seen.append(image)
        raise KeyboardInterrupt

    offer = SimpleNamespace(type=SimpleNamespace(name="p2.xlarge"))
    request: Any = SimpleNamespace(offers=[offer], market="spot", tags={})
    monkeypatch.setattr(begin, "ready", lambda *_: "arn")
    monkeypatch.setattr(start, "manifest_of", stop)
    with pytest.raises(KeyboardInterrupt):
        kept.train(Session(CLOUD, Settings()), plan, request, kept.Terms())
    assert [(one.tag, one.digest) for one in seen] == [(f"{HOST}/caffe@{DIGEST}", DIGEST)]


def test_no_laptop_begins_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = TrainRequest("digits", {}, image=f"{HOST}/caffe:1")
    nothing: Any = SimpleNamespace()
    FakeAws()
    for refused in (
        lambda: start.plan_on(Session(CLOUD, Settings()), wanted, nothing),
        lambda: start.compose(Session(CLOUD, Settings()), resolve(wanted), nothing),
        lambda: start.ensure_image(SimpleNamespace(manifest=SimpleNamespace(image=f"{HOST}/caffe@{DIGEST}"))),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match="fetched by a machine that begins by itself") as error:
            refused()
        assert "--instance" in error.value.mend
