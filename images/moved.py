"""Packages that the mirrors of an ended release have lost: whether the next places have them, and what a build does.

infra/apt.sh looks in an archive that a setting names, in the dated snapshot that official images name in a comment of
their sources, in one that a setting names, and then does without the security suite. The settings' places are asked
here; an image's comments cannot be read without the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from images.answers import Finding
from images.asked import Question, of_other_suites, suites_of
from images.places import Suite
from infra.aptsources import SNAPSHOT, Release

_LOST = ("gone", "unclear", "not asked")
_THERE = ("ok", "changed")


def followed(question: Question, found: Finding, ask: Callable[[Question], Finding]) -> Finding:
    """The finding; as `moved` where the mirrors lost the thing and a next place has it, else with what a build does.

    Nothing counts as gone while one of the next places does not answer.
    """
    suites = suites_of(question)
    if found.state not in _LOST or not suites or not suites[0].ended:
        return found
    begin = f"{found.said}; the release ended on {suites[0].ended}"
    said, state = [begin], found.state
    for roots in zip(*(suite.after for suite in suites), strict=True):
        next_ = [replace(suite, root=root, undated=True) for suite, root in zip(suites, roots, strict=True)]
        there = ask(of_other_suites(question, tuple(next_)))
        if there.state in _THERE:
            return replace(there, state="moved", said=f"{begin}, and the build takes it from {roots[0]}")
        said.append(f"{roots[0]} does not give it ({there.said})")
        state = "unreachable" if there.state == "unreachable" else state
    if found.state == "not asked":
        return found
    return replace(found, state=state, said="; ".join([*said, _words(suites)]), mend=found.mend or _mend(suites[0]))


def _words(suites: Sequence[Suite]) -> str:
    """What a build does where all these places failed, in words."""
    ways = ["takes the snapshot that the official image names"] if suites[0].distribution == "debian" else []
    if all(suite.name.endswith("-security") for suite in suites):
        ways.append("does without the security suite")
    return f"the build {', or else '.join(ways)}" if ways else "the build fails there"


def _mend(suite: Suite) -> str:
    """How another place could be asked: by a setting, where none is set."""
    if suite.after:
        return ""
    setting = SNAPSHOT if suite.distribution == "debian" else Release(suite.distribution, "").setting
    return f"set {setting}: then that place is asked, too"
