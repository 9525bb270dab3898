"""Parts of the Amazon States Language as plain functions: a state is a dictionary, and so is a rule of a choice.

Only JSONPath is used, and of the services only AWS's SDK integrations: https://states-language.net/spec.html
https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html

A path that is not there ends an execution, and nothing catches that (States.Runtime). So a field that may be absent is
asked for by `there`, or is found by a deep scan (`$..Errors[*].ErrorCode`), which gives an empty list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

State = dict[str, Any]
Rule = dict[str, Any]

ANSWER_S = 60  # a call of AWS's that takes longer is lost
NOW = "$$.State.EnteredTime"


def task(service: str, action: str, words: Mapping[str, Any], then: str, **more: Any) -> State:
    """One call of `service:action` with `words`, then the state `then`. Its answer is thrown away but for `keep`.

    `keep`: (where, what) keeps the fields `what` of the answer at the path `where`; `fails` is the state after an error
    that `again` more tries (with `pause` seconds before the first) did not mend; `catch`: errors' names to states. An
    error is at `$.error` then.
    """
    where, what = more.get("keep") or (None, {})
    caught = [_catch([name], state) for name, state in more.get("catch", {}).items()]
    return {
        "Type": "Task",
        "Resource": f"states:::aws-sdk:{service}:{action}",
        "Parameters": dict(words),
        "TimeoutSeconds": ANSWER_S,
        **({"ResultSelector": dict(what)} if what else {}),
        "ResultPath": where,
        "Retry": [*(retry([name], 0, 1) for name in more.get("catch", {})),
                  retry(["States.ALL"], more.get("again", 3), more.get("pause", 2))],
        "Catch": [*caught, _catch(["States.ALL"], more["fails"])],
        "Next": then,
    }  # fmt: skip


def retry(errors: Sequence[str], times: int, pause: int) -> dict[str, Any]:
    """Up to so many more tries after these errors; pauses grow from `pause` seconds by half, to a minute at most."""
    return {
        "ErrorEquals": list(errors), "IntervalSeconds": pause, "MaxAttempts": times, "BackoffRate": 1.5,
        "MaxDelaySeconds": 60,
    }  # fmt: skip


def _catch(errors: Sequence[str], state: str) -> dict[str, Any]:
    return {"ErrorEquals": list(errors), "ResultPath": "$.error", "Next": state}


def put(where: str, values: Mapping[str, Any], then: str) -> State:
    """Put these values at the path `where`, in the place of what is there; `key.$` goes before `key`."""
    kept = {key: value for key, value in values.items() if f"{key}.$" not in values}
    return {"Type": "Pass", "Parameters": kept, "ResultPath": where, "Next": then}


def choose(default: str, *rules: tuple[Rule, str]) -> State:
    """The state of the first rule that holds, else `default`."""
    return {"Type": "Choice", "Choices": [{**rule, "Next": state} for rule, state in rules], "Default": default}


def wait(seconds: int | str, then: str) -> State:
    """Wait so many seconds, or as many as stand at a path."""
    how = {"SecondsPath": seconds} if isinstance(seconds, str) else {"Seconds": seconds}
    return {"Type": "Wait", **how, "Next": then}


# rules


def rule(path: str, test: str, value: Any) -> Rule:
    """One comparison: `rule("$.n", "NumericLessThan", 3)`."""
    return {"Variable": path, test: value}


def there(path: str) -> Rule:
    """Whether something is at the path."""
    return rule(path, "IsPresent", True)


def is_(path: str, *words: str) -> Rule:
    """Whether the text at the path, which is there, is one of the words."""
    return any_(*(rule(path, "StringEquals", word) for word in words))


def like(path: str, *patterns: str) -> Rule:
    """Whether there is a text at the path that fits one of the patterns; `*` stands for anything."""
    return all_(there(path), any_(*(rule(path, "StringMatches", pattern) for pattern in patterns)))


def all_(*rules: Rule) -> Rule:
    """Whether all of the rules hold; they are looked at in order, and none behind one that does not hold."""
    return rules[0] if len(rules) == 1 else {"And": list(rules)}


def any_(*rules: Rule) -> Rule:
    """Whether one of the rules holds."""
    return rules[0] if len(rules) == 1 else {"Or": list(rules)}


def not_(one: Rule) -> Rule:
    """Whether the rule does not hold."""
    return {"Not": one}


# values


def moment(path: str) -> str:
    """AWS's time at the path (2026-11-20T18:40:00.123Z) as Python of any age reads it: 2026-11-20T18:40:00+00:00."""
    return f"States.Format('{{}}+00:00', States.ArrayGetItem(States.StringSplit({path}, '.Z+'), 0))"


def more(path: str, by: int = 1) -> str:
    """The number at the path and `by`."""
    return f"States.MathAdd({path}, {by})"
