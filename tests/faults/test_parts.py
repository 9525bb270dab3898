"""What the sweep chooses to try, and the rules by which one client of several meets a fault."""

import threading
from typing import Any

import pytest

from localcloud.faults import Faults
from tests.faults.kinds import Call, Fault
from tests.faults.parts import PARTS, Round, faults_of, filtered
from tests.faults.trainer import turned_twice


def calls(*actions: str) -> list[Call]:
    return [Call("s3", action, number) for number, action in enumerate(actions, 1)]


def test_of_a_loop_two_turns_are_swept_and_what_follows_it() -> None:
    turn = ("List", "Get", "Get", "Describe")
    found = turned_twice(calls("Head", *turn, *turn, *turn, *turn, "List", "Put"))
    assert [one.action for one in found] == ["Head", *turn, *turn, "List", "Put"]
    looks = ("Describe", "Get", "List", "Get", "Get", "List", "Get")
    found = turned_twice(calls("Head", *looks, *looks, *looks, *looks))
    assert [one.action for one in found] == ["Head", *looks, *looks]
    assert turned_twice(calls("Get", "Get", "Get", "Put")) == calls("Get", "Get", "Get", "Put")


def test_a_call_that_was_chosen_and_is_not_made_any_more_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="`up` does not call ec2 CreateLaunchTemplate 1: choose others"):
        list(faults_of(PARTS["machines"], lambda step: calls("Get")))


def test_at_least_twenty_faults_meet_fresh_system_containers() -> None:
    def made(step: str) -> list[Call]:
        chosen = [wanted.split() for name, wanted, _ in PARTS["machines"].chosen if name == step]
        return [Call(service, action, int(nth)) for service, action, nth in chosen]

    assert len(list(faults_of(PARTS["machines"], made))) >= 20


def test_the_last_of_what_is_asked_for_ends_what_they_share() -> None:
    tasks = [Fault("stop", call, kind) for call in calls("Get", "Put") for kind in ("lost", "broken")]
    found = filtered(iter(tasks), ["stop"], ["lost"], "Put|Get")
    assert [(str(one.call), one.last) for one in found if isinstance(one, Fault)] == [
        ("s3 Get 1", False),
        ("s3 Put 2", True),
    ]
    assert filtered(iter([Round(7)]), ["stop"], [], "") == [Round(7)]


def asked_by(client: str) -> tuple[dict[str, Any], dict[str, Any]]:
    call = {"service": "ec2", "action": "DescribeVolumes", "access_key": "AKIA", "params": {}}
    return call, {"HTTP_X_CLIENT": client}


def test_a_rule_is_about_one_client_of_several() -> None:
    faults, met = Faults(), list[str]()
    pages = faults.pages()
    pages["faults"]([{"client": "b up", "lost": True}])

    def ask(client: str) -> None:
        call, environ = asked_by(client)
        list(faults.around(call, environ, print, lambda *_: [b"done"], print))
        met.append(client)

    ask("a up")
    assert pages["faults"]({}) == [0]
    with pytest.raises(KeyError):  # there is no socket here to close
        ask("b up")
    assert pages["faults"]({}) == [1]
    assert met == ["a up"]


def test_a_client_is_released_alone() -> None:
    faults, over = Faults(), dict[str, threading.Event]()
    pages = faults.pages()
    pages["faults"]([{"pause": "after", "times": 0}])

    def ask(client: str) -> None:
        call, environ = asked_by(client)
        faults.around(call, environ, print, lambda *_: [b"done"], print)
        over[client].set()

    for client in ("a", "b"):
        over[client] = threading.Event()
        threading.Thread(target=ask, args=(client,), daemon=True).start()
        while client not in [call["client"] for call in pages["paused"]({"seconds": 5})]:
            pass
    assert pages["release"]({"client": "b"}) == 1
    assert over["b"].wait(5)
    assert not over["a"].is_set()
    assert [call["client"] for call in pages["paused"]({})] == ["a"]
    assert pages["release"]({}) == 1
    assert over["a"].wait(5)
