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
from infra.keys import new_pair
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


def config(request: SpotRequest = REQUEST) -> dict[str, Any]:
    packed = user_data.render(request, DEADLINE, "ssh-ed25519 AAAA laptop", new_pair("host"))
    text = gzip.decompress(packed).decode()
    assert text.startswith("#cloud-config\n")
    plain: dict[str, Any] = json.loads(text.split("\n", 1)[1])
    return plain


def written(request: SpotRequest = REQUEST) -> Mapping[str, str]:
    return {one["path"]: one["content"] for one in config(request)["write_files"]}


def settings(request: SpotRequest = REQUEST) -> list[str]:
    return written(request)["/opt/provision/settings"].splitlines()


def test_the_deadline_is_armed_first_and_at_the_right_time() -> None:
    found = config()
    assert next(iter(found)) == "bootcmd"
    [command] = found["bootcmd"]
    assert command[-1] == "2026-11-21 18:40:00 UTC"
    assert "provision-deadline.timer" in " ".join(command)


def test_session_managers_agent_is_seen_to_after_the_deadline_and_only_where_it_is_the_way_in() -> None:
    deadline, agent = config(replace(REQUEST, via="ssm"))["bootcmd"]
    assert "deadline" in deadline
    assert agent[0] == "systemd-run"
    assert "--no-block" in agent
    assert "amazon-ssm-agent" in agent[-1]
    assert len(config()["bootcmd"]) == 1


def test_it_fits_into_what_ec2_takes_with_room_to_grow() -> None:
    packed = user_data.render(REQUEST, DEADLINE, "ssh-ed25519 " + "A" * 68 + " someone@laptop", new_pair("host"))
    assert len(packed) < user_data.LIMIT * 0.9


def test_more_than_ec2_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "LIMIT", 1000)
    with pytest.raises(CloudError, match=r"EC2 takes 1000"):
        config()


def test_only_our_keys_let_in() -> None:
    found = config()
    [user] = found["users"]
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA laptop"]
    assert user["lock_passwd"] is True
    assert found["ssh_pwauth"] is False
    assert found["ssh_genkeytypes"] == []
    assert set(found["ssh_keys"]) == {"ed25519_private", "ed25519_public"}


def test_no_aws_credentials_travel() -> None:
    assert "AKIA" not in json.dumps(config())


def test_what_the_bootstrap_runs_is_there() -> None:
    there = written()
    for name in (
        "engine.sh",
        "nvidia.sh",
        "bootstrap.sh",
        "idle.sh",
    ):
        assert f"/opt/provision/{name}" in there
    for unit in ("provision-guard.service", "provision-idle.service", "provision-idle.timer"):
        assert f"/etc/systemd/system/{unit}" in there


def test_the_scripts_are_told_of_this_machine() -> None:
    assert settings(replace(REQUEST, tags={"provision:driver": "535"})) == [
        "gpus=4",
        "driver=535",
        "toolkit_repository=https://nvidia.github.io/libnvidia-container",
        "toolkit_key=C95B321B61E88C1809C4F759DDCAE044F796ECB0",
        "idle_seconds=1800",
        "power_off_after=0",
    ]
    bare = replace(REQUEST, offers=(Offer(InstanceType("c5.large", 2, 4096), "a", "s"),), idle_minutes=0.0)
    assert settings(bare)[:2] == ["gpus=0", "driver=''"]
    assert settings(bare)[-2:] == ["idle_seconds=0", "power_off_after=0"]
    assert settings(replace(REQUEST, own_run=True))[-1] == "power_off_after=1"  # not the run, which may move elsewhere


def test_a_mirror_of_the_toolkit_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_TOOLKIT_REPOSITORY", "http://mirror.example/it's/")
    monkeypatch.setenv("PROVISION_TOOLKIT_KEY", "ABCD")
    assert "toolkit_repository='http://mirror.example/it'\"'\"'s'" in settings()
    assert "toolkit_key=ABCD" in settings()


@pytest.mark.parametrize(("minutes", "every"), [(30.0, "60s"), (2.0, "30s"), (0.05, "1s"), (0.0, "60s")])
def test_a_short_idle_time_is_looked_at_more_often(minutes: float, every: str) -> None:
    timer = written(replace(REQUEST, idle_minutes=minutes))["/etc/systemd/system/provision-idle.timer"]
    assert f"OnUnitActiveSec={every}\n" in timer


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


# a machine that starts itself


ORDER = {
    "run": "x" * 54 + "-20261130-031500-a71a", "bucket": "provision-" + "1" * 12 + "-ap-southeast-2-" + "x" * 25,
    "prefix": "runs/" + "x" * 54 + "-20261130-031500-a71a/", "region": "ap-southeast-2",
    "s3": "https://s3.ap-southeast-2.amazonaws.com.cn", "states": "https://states.ap-southeast-2.amazonaws.com.cn",
    "owner": "123456789012", "bundle": hashlib.sha256(b"b").hexdigest(), "capsule": hashlib.sha256(b"c").hexdigest(),
}  # fmt: skip


def kept(request: SpotRequest = REQUEST, login: str = "ssh-ed25519 AAAA laptop") -> dict[str, Any]:
    text = gzip.decompress(user_data.render_kept(request, DEADLINE, login, ORDER)).decode()
    plain: dict[str, Any] = json.loads(text.removeprefix("#cloud-config\n"))
    return plain


def test_a_machine_that_starts_itself_arms_its_deadline_first_as_any_other() -> None:
    found = kept()
    assert next(iter(found)) == "bootcmd"
    assert found["bootcmd"] == config()["bootcmd"]


def test_it_has_no_secret_and_makes_its_host_key_itself() -> None:
    found = kept()
    assert "ssh_keys" not in found and found["ssh_genkeytypes"] == ["ed25519"] and found["ssh_deletekeys"] is True
    assert "PRIVATE" not in json.dumps(found) and "AKIA" not in json.dumps(found)
    assert found["users"] == config()["users"] and found["ssh_pwauth"] is False


def test_it_is_told_its_order_and_powers_off_where_it_cannot_begin() -> None:
    found = kept()
    there = {one["path"]: one["content"] for one in found["write_files"]}
    assert json.loads(there.pop("/opt/provision/order.json")) == ORDER
    assert there.pop("/opt/provision/stub.py") == script("stub.py")
    [(_, text)] = there.items()
    assert text.splitlines() == [*settings(replace(REQUEST, own_run=True)), "idle_every=60s"]
    [begin] = found["runcmd"]
    assert begin[:2] == ["sh", "-c"]
    assert re.fullmatch(
        r"python3 /opt/provision/stub.py \|\| \{ sleep 60; systemctl start .*deadline.service; \}", begin[2]
    )


def test_it_fits_into_4_kib_with_the_longest_names() -> None:
    """Keys and sums cannot be packed; what stands for them here cannot either."""
    name = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(4))
    order = {**ORDER, "run": name[:78], "prefix": f"runs/{name[:78]}/", "bucket": name[80:143]}
    login = "ssh-ed25519 " + base64.b64encode(bytes.fromhex(name[:102])).decode() + " " + name[102:166]
    packed = user_data.render_kept(replace(REQUEST, tags={"provision:driver": "535"}), DEADLINE, login, order)
    assert len(packed) <= user_data.KEPT_LIMIT * 0.85


def test_more_than_4_kib_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "KEPT_LIMIT", 1000)
    with pytest.raises(CloudError, match=r"a machine that starts itself has 1000"):
        kept()


def test_the_stub_runs_with_python_3_6() -> None:
    ast.parse(script("stub.py"), feature_version=(3, 6))
    for name in ("transfer.py", "download.py"):
        ast.parse(script(name), feature_version=(3, 6))


def test_what_the_units_of_a_machine_that_starts_itself_call_is_in_its_bundle() -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle.pack()[1])) as tar:
        there = {entry.name: tar.extractfile(entry).read().decode() for entry in tar}  # type: ignore[union-attr]
    units = {name: text for name, text in there.items() if name.startswith("units/")}
    assert {
        f"units/{name}" for name in (*user_data._UNITS, "provision-idle.timer", "provision-attempt.service")
    } == set(units)
    assert set(user_data._SCRIPTS) <= set(there)
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
