"""What a blank machine is told at its first boot, and when it has to end."""

import ast
import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

import pytest

from infra.aws.types import DataVolume, InstanceType, Offer, SpotRequest
from infra.errors import CloudError, UsageError
from infra.host import guard_modules, script, slim_python, slim_shell
from provision.files import bundle
from provision.machines import user_data
from provision.offers import budget

DEADLINE = datetime(2026, 11, 21, 18, 40, tzinfo=timezone.utc)
NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=timezone.utc)
GPUS = InstanceType("p3.8xlarge", 32, 249856, gpu="V100", gpus=4, gpu_memory_mib=16384)
REQUEST = SpotRequest(
    name="one", token="0123456789abcdef", cloud="aws", region="us-east-1", image="ami-1", root_device="/dev/sda1",
    offers=(Offer(GPUS, "us-east-1a", "subnet-1", spot=2.0, on_demand=12.0),), market="spot", disk_gb=100,
    max_hours=24.0, idle_minutes=30.0, address="203.0.113.7",
)  # fmt: skip


ORDER = {
    "bucket": "provision-" + "1" * 12 + "-ap-southeast-2-" + "x" * 25, "region": "ap-southeast-2",
    "s3": "https://s3.ap-southeast-2.amazonaws.com.cn", "owner": "123456789012",
    "bundle": hashlib.sha256(b"b").hexdigest(), "keys": "machines/provision-one-01234567/keys/",
}  # fmt: skip
RUN = "x" * 54 + "-20261130-031500-a71a"
KEPT = {
    **ORDER, "keys": f"runs/{RUN}/keys/", "run": RUN, "prefix": f"runs/{RUN}/",
    "states": "https://states.ap-southeast-2.amazonaws.com.cn", "capsule": hashlib.sha256(b"c").hexdigest(),
}  # fmt: skip
BOTH = pytest.mark.parametrize("order", [ORDER, KEPT], ids=["waits for a laptop", "starts itself"])


def config(request: SpotRequest = REQUEST, order: Mapping[str, str] = ORDER) -> dict[str, Any]:
    text = gzip.decompress(user_data.render(request, DEADLINE, "ssh-ed25519 AAAA laptop", order)).decode()
    assert text.startswith("#cloud-config\n")
    plain: dict[str, Any] = json.loads(text.split("\n", 1)[1])
    return plain


def written(request: SpotRequest = REQUEST, order: Mapping[str, str] = ORDER) -> Mapping[str, str]:
    return {one["path"]: one["content"] for one in config(request, order)["write_files"]}


def settings(request: SpotRequest = REQUEST, order: Mapping[str, str] = ORDER) -> list[str]:
    return written(request, order)["/opt/provision/settings"].splitlines()


@BOTH
def test_the_deadline_is_armed_first_and_at_the_right_time(order: Mapping[str, str]) -> None:
    found = config(order=order)
    assert next(iter(found)) == "bootcmd"
    [command] = found["bootcmd"]
    assert command[-1] == "2026-11-21 18:40:00 UTC"
    assert "provision-deadline.timer" in " ".join(command)


@BOTH
def test_it_fits_into_4_kib_with_the_longest_names(order: Mapping[str, str]) -> None:
    """Keys and sums cannot be packed; what stands for them here cannot either."""
    name = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(4))
    longest = {**order, "bucket": name[80:143], "keys": f"machines/provision-{name[:63]}-01234567/keys/"}
    if "run" in order:
        longest |= {"run": name[:78], "prefix": f"runs/{name[:78]}/", "keys": f"runs/{name[:78]}/keys/"}
    login = "ssh-ed25519 " + base64.b64encode(bytes.fromhex(name[:102])).decode() + " " + name[102:166]
    packed = user_data.render(replace(REQUEST, tags={"provision:driver": "535"}, via="ssm"), DEADLINE, login, longest)
    assert user_data.LIMIT == 4096
    assert len(packed) <= user_data.LIMIT * 0.87


def test_more_than_4_kib_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "LIMIT", 1000)
    with pytest.raises(CloudError, match=r"the user data has \d+ bytes, and may have 1000"):
        config()


@BOTH
def test_only_our_key_lets_in_and_there_is_no_secret(order: Mapping[str, str]) -> None:
    found = config(order=order)
    [user] = found["users"]
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA laptop"]
    assert user["lock_passwd"] is True
    assert found["ssh_pwauth"] is False
    assert "ssh_keys" not in found and found["ssh_genkeytypes"] == ["ed25519"] and found["ssh_deletekeys"] is True
    assert "PRIVATE" not in json.dumps(found) and "AKIA" not in json.dumps(found)


@BOTH
def test_it_is_told_its_order_and_powers_off_where_it_cannot_begin(order: Mapping[str, str]) -> None:
    there = dict(written(order=order))
    assert json.loads(there.pop("/opt/provision/order.json")) == order
    assert there.pop("/opt/provision/stub.py") == script("stub.py")
    assert set(there) == {"/opt/provision/settings"}
    [begin] = config(order=order)["runcmd"]
    assert begin[:2] == ["sh", "-c"]
    assert re.fullmatch(
        r"python3 /opt/provision/stub.py \|\| \{ sleep 60; systemctl start .*deadline.service; \}", begin[2]
    )


def test_the_scripts_are_told_of_this_machine() -> None:
    assert settings(replace(REQUEST, tags={"provision:driver": "535"})) == [
        "gpus=4",
        "driver=535",
        "toolkit_repository=https://nvidia.github.io/libnvidia-container",
        "toolkit_key=C95B321B61E88C1809C4F759DDCAE044F796ECB0",
        "idle_seconds=1800",
        "idle_every=60s",
        "power_off_after=0",
        "kept=0",
        "via=ssh",
    ]
    bare = replace(REQUEST, offers=(Offer(InstanceType("c5.large", 2, 4096), "a", "s"),), idle_minutes=0.0)
    assert settings(bare)[:2] == ["gpus=0", "driver=''"]
    assert "idle_seconds=0" in settings(bare)
    own = replace(REQUEST, own_run=True, via="ssm")
    assert settings(own)[-3:] == ["power_off_after=1", "kept=0", "via=ssm"]  # not the run, which may move elsewhere
    assert settings(order=KEPT)[-3:] == ["power_off_after=1", "kept=1", "via=ssh"]


def test_a_mirror_of_the_toolkit_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_TOOLKIT_REPOSITORY", "http://mirror.example/it's/")
    monkeypatch.setenv("PROVISION_TOOLKIT_KEY", "ABCD")
    assert "toolkit_repository='http://mirror.example/it'\"'\"'s'" in settings()
    assert "toolkit_key=ABCD" in settings()


@pytest.mark.parametrize(("minutes", "every"), [(30.0, "60s"), (2.0, "30s"), (0.05, "1s"), (0.0, "60s")])
def test_a_short_idle_time_is_looked_at_more_often(minutes: float, every: str) -> None:
    assert f"idle_every={every}" in settings(replace(REQUEST, idle_minutes=minutes))


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({}, 24.0),
        ({"budget": 1000.0}, 24.0),
        ({"budget": 24.01, "disk_gb": 0}, 2.0),  # the spot price may become that on demand; the address costs as well
        ({"budget": 24.01}, 1.99815),  # 100 GB of disk cost 1.1 cents an hour
        ({"budget": 24.01, "disk_gb": 0, "volumes": (DataVolume("data", 100),)}, 1.99815),
        ({"budget": 4.01, "disk_gb": 0, "max_price": 2.0}, 2.0),
        ({"budget": 24.01, "disk_gb": 0, "max_price": 99.0}, 2.0),  # no more than on demand is offered to AWS
        ({"budget": 6.0025, "disk_gb": 0, "max_price": 2.0, "fallback": True}, 0.5),  # it may come on demand
        ({"budget": 3.005, "disk_gb": 0, "offers": (Offer(GPUS, "a", "s"),), "max_price": 3.0}, 1.0),
    ],
)
def test_it_ends_when_its_hours_or_its_budget_end(changes: dict[str, Any], hours: float) -> None:
    at = budget.ends_at(replace(REQUEST, **changes), NOW)
    assert at.microsecond == 0
    kept_back = 11 * 60 if "budget" in changes and hours < 24 else 0
    assert (at - NOW).total_seconds() == pytest.approx(hours * 3600 - kept_back, abs=2)


def test_a_budget_needs_a_price() -> None:
    unknown = replace(REQUEST, offers=(Offer(GPUS, "a", "s"),), budget=4.0)
    for ask in (lambda: budget.ends_at(unknown, NOW), lambda: budget.check(unknown)):
        with pytest.raises(UsageError) as error:
            ask()
        assert "--max-price" in error.value.mend


def test_a_budget_for_some_minutes_is_a_slip_of_the_finger() -> None:
    budget.check(replace(REQUEST, budget=None))
    cheap = replace(REQUEST, disk_gb=0, max_price=2.0)
    budget.check(replace(cheap, budget=0.87))  # 26.03 minutes at 2 $/h
    with pytest.raises(UsageError) as error:
        budget.check(replace(cheap, budget=0.8))
    assert error.value.what == (
        "a budget of $0.8 pays for 13 minutes of up to 2.00 $/h, and for the 11 that its end may take"
    )


# what it fetches


def test_the_stub_runs_with_python_3_6() -> None:
    ast.parse(script("stub.py"), feature_version=(3, 6))
    for name in ("transfer.py", "download.py"):
        ast.parse(script(name), feature_version=(3, 6))


def test_what_the_units_and_scripts_of_a_machine_call_is_in_its_bundle() -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle.pack()[1])) as tar:
        there = {entry.name: tar.extractfile(entry).read().decode() for entry in tar}  # type: ignore[union-attr]
    units = {name: text for name, text in there.items() if name.startswith("units/")}
    kinds = ("guard.service", "attempt.service", "clean.service", "idle.service", "idle.timer")
    assert set(units) == {f"units/provision-{kind}" for kind in kinds}
    assert "OnUnitActiveSec=EVERY\n" in units["units/provision-idle.timer"]  # start.sh fills that in
    assert {"start.sh", "bootstrap.sh", "engine.sh", "nvidia.sh", "idle.sh", "guard/__main__.py"} <= set(there)
    for line in (
        "ConditionPathExists=/opt/provision/order.json", "ExecStart=/usr/bin/python3 /opt/provision/guard begin",
        "Restart=on-failure", "NoNewPrivileges=yes", "ProtectSystem=strict", "WantedBy=multi-user.target",
        "ReadWritePaths=/var/lib/provision /data",
    ):  # fmt: skip
        assert line in units["units/provision-attempt.service"].splitlines()
    for text in [*units.values(), *(there[name] for name in there if name.endswith(".sh"))]:
        called = re.findall(r"/opt/provision/([\w./-]+\.(?:sh|py))", text)
        assert set(called) <= set(there), called
    assert there["bootstrap.sh"].count("provision-attempt.service") == 1


# how scripts are made shorter


class Silent(ast.NodeTransformer):
    """A program without texts that are statements."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def test_the_guard_that_is_sent_is_the_same_program_and_runs_with_python_3_6() -> None:
    whole = {name: files("infra.host").joinpath(name).read_text() for name in guard_modules()}
    sent = {name: script(name) for name in whole}
    assert len("".join(sent.values())) < len("".join(whole.values())) * 0.9
    for name, text in sent.items():
        assert '"""' not in text
        shortened = ast.parse(text, feature_version=(3, 6))
        assert ast.dump(shortened) == ast.dump(Silent().visit(ast.parse(whole[name]))), name


def test_python_is_shortened_by_words_for_readers_alone() -> None:
    text = '"""Doc."""\nclass A(Exception):\n    """Doc."""\n\ndef f(x):\n    """Doc."""\n    return "#" + x  # why\n'
    assert slim_python(text) == "class A(Exception):\n pass\n\ndef f(x):\n return '#' + x\n"


def test_shell_is_shortened_by_whole_lines() -> None:
    assert (
        slim_shell("#!/bin/sh\n# why\n\na=${b#c} # stays\n  # also why\n  echo\n")
        == "#!/bin/sh\na=${b#c} # stays\necho\n"
    )
    assert slim_shell("[Unit]\n# why\nA=b\n") == "[Unit]\nA=b\n"


def test_no_script_loses_more_than_comments_at_whole_lines() -> None:
    """A `#` at the beginning of a line inside quotes or a here-document would be lost."""
    for one in files("infra.host").iterdir():
        if one.name.endswith(".sh"):
            text = one.read_text()
            assert "<<" not in text
            lines = [line.strip() for line in text.splitlines()]
            lost = [line for line in lines if line and line not in slim_shell(text).splitlines()]
            assert all(line.startswith("#") for line in lost)
