"""The questions that tell whether an image can still be built: for each row, and for each stack.

Questions are values; two rows that need the same thing have equal ones. The questions for NVIDIA's repositories
follow from the macros that write the Dockerfiles, so that they ask for exactly what a build fetches.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any, Literal

from images import ends
from images.choose import targets
from images.distributions import Distribution, distribution
from images.matrix import Variant
from images.places import Places, Suite, SuitePlace, read
from images.render import macros
from images.stacks import Stack
from infra import registry

Kind = Literal["base", "suites", "nvidia", "wheels", "packages", "source"]

# stacks whose `packages` are pip's; the others' are apt's
_PIP = ("detectron.Dockerfile.j2", "tools.Dockerfile.j2")


@dataclass(frozen=True)
class Manifest:
    """Does the registry have the image?"""

    reference: registry.Reference
    host: str
    kind: Kind = "base"

    @property
    def name(self) -> str:
        image = self.reference
        return f"{image.host or self.host}/{image.repository}{'@' if ':' in image.tag else ':'}{image.tag}"


@dataclass(frozen=True)
class Release:
    """Does the suite have its signed list of contents, and is that valid today?"""

    suite: Suite
    kind: Kind

    @property
    def name(self) -> str:
        return self.suite.folder


@dataclass(frozen=True)
class Pool:
    """Does the mirror have the files that the suite's index names? A few of them are asked for, spread evenly."""

    suite: Suite
    kind: Kind = "suites"

    @property
    def name(self) -> str:
        return f"pool of {self.suite.name}"


@dataclass(frozen=True)
class Package:
    """Does the index of one of the suites list this version, and is the file there?"""

    suites: tuple[Suite, ...]
    package: str
    version: str
    kind: Kind

    @property
    def name(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class File:
    """Is the file there?"""

    url: str
    kind: Kind = "nvidia"

    @property
    def name(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """Does pip's index (one of them) have this version, not yanked, and the file with the pinned sum, if any?"""

    indexes: tuple[str, ...]
    package: str
    version: str
    sha256: str = ""
    kind: Kind = "wheels"

    @property
    def name(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class Commit:
    """Does the host of the source answer for the commit?"""

    source: str
    revision: str
    kind: Kind = "source"

    @property
    def name(self) -> str:
        return f"{self.source} {self.revision[:12]}"


Question = Manifest | Release | Pool | Package | File | Wheel | Commit


@dataclass(frozen=True)
class Subject:
    """A row or a stack, and its questions. `ended`: the day on which its distribution's support ended, or empty."""

    name: str
    ended: str
    questions: tuple[Question, ...]


def subjects(rows: Iterable[Variant], places: Places) -> list[Subject]:
    """A Subject for each row, then one for each stack that can be made on one of the rows."""
    rows = list(rows)
    ids = {row.id for row in rows}
    found = [Subject(row.id, _ended(row.distribution), of_row(row, places)) for row in rows]
    stacks: dict[str, list[Variant]] = {}
    for target in targets():
        if target.variant.id in ids:
            stacks.setdefault(target.stack.name, []).append(target.variant)
    by_name = {target.stack.name: target.stack for target in targets()}
    for name, on in stacks.items():
        if questions := of_stack(by_name[name], on, places):
            ended = {_ended(row.distribution) for row in on}
            found.append(Subject(f"stack {name}", max(ended) if "" not in ended else "", questions))
    return found


def of_row(row: Variant, places: Places) -> tuple[Question, ...]:
    """The questions for a row: its base images, its distribution's suites, and all that it pins."""
    references = [registry.parse(reference) for reference in dict.fromkeys((row.base, row.base_runtime))]
    bases = [
        Manifest(reference, reference.host or places.registry_for(reference.repository)) for reference in references
    ]
    return _unique([*bases, *_of_distribution(row, places), *_of_pins(row, places)])


def of_stack(stack: Stack, on: Iterable[Variant], places: Places) -> tuple[Question, ...]:
    """The questions for a stack made on these rows: its source, and the packages that it pins."""
    found: list[Question] = []
    if stack.patched and stack.source.startswith("https://"):
        source = stack.source.replace(read().mirrors["github"], places.mirrors["github"])
        found.append(Commit(source, stack.revision))
    if stack.template in _PIP:
        found += [Wheel(_indexes(places), *pin) for pin in stack.packages.items()]
    else:
        for row in on:
            suites = distribution_suites(row.distribution, places)
            found += [Package(suites, name, version, "packages") for name, version in stack.packages.items()]
    return _unique(found)


def distribution_suites(name: str, places: Places) -> tuple[Suite, ...]:
    """The suites of a distribution (debian12): the release, its updates, its security."""
    family = "debian" if name.startswith("debian") else "ubuntu"
    return tuple(_suite(place, family, distribution(name), places) for place in places.suites[family])


def unknown(question: Question) -> str:
    """The name of the unknown mirror without which the question cannot be asked; empty: it can be asked."""
    if isinstance(question, Wheel):
        return "" if question.indexes else "python"
    return next((suite.distribution for suite in suites_of(question) if not suite.root), "")


def suites_of(question: Question) -> tuple[Suite, ...]:
    """The suites that a question is about."""
    if isinstance(question, Package):
        return question.suites
    return (question.suite,) if isinstance(question, Release | Pool) else ()


def of_other_suites(question: Question, suites: tuple[Suite, ...]) -> Question:
    """The same question about other suites, as many as it has."""
    if isinstance(question, Package):
        return replace(question, suites=suites)
    return replace(question, suite=suites[0]) if isinstance(question, Release | Pool) else question


def _suite(place: SuitePlace, family: str, release: Distribution, places: Places) -> Suite:
    name, ended = place.suite.format(codename=release.codename), _ended(release.name)
    after = places.after(place.mirror, date.fromisoformat(ended)) if ended else ()
    root = places.mirrors.get(place.mirror, "")
    return Suite(root, name, place.components, family, ended, after, root in after)


def _of_distribution(row: Variant, places: Places) -> list[Question]:
    suites = distribution_suites(row.distribution, places)
    security = [suite for suite in suites if suite.name.endswith("-security")]
    return [*(Release(suite, "suites") for suite in suites), *(Pool(suite) for suite in security)]


def _of_pins(row: Variant, places: Places) -> list[Question]:
    wheels: list[Question] = [_wheel(name, version, places) for name, version in row.wheels.items()]
    if row.base_kind == "nvidia-apt":
        return [*_of_nvidia(row, places), *wheels]
    suites = distribution_suites(row.distribution, places)
    return [*(Package(suites, name, version, "packages") for name, version in row.apt_build.items()), *wheels]


def _wheel(name: str, version: str, places: Places) -> Wheel:
    return Wheel(_indexes(places), name, version, str(_sums().wheels.get(f"{name}=={version}", "")))


def _of_nvidia(row: Variant, places: Places) -> list[Question]:
    """The questions for NVIDIA's apt trees: the trees, their keys, the packages in them, and the loose .deb files."""
    bases, root = macros("_bases.j2"), places.mirrors["nvidia"]
    parts = ["cuda", *(["machine-learning"] if bases.needs_learning(row).strip() else [])]
    at = {part: f"{root}/{part}/{bases.tree(row, part)}" for part in ("cuda", "machine-learning")}
    trees = tuple(Suite(at[part]) for part in parts)
    loose = [name for name in row.apt_build if bases.is_loose(row, name).strip()]
    return [
        *(Release(tree, "nvidia") for tree in trees),
        *(File(f"{at[part]}/{bases.signer(row, part).strip()}.pub") for part in parts),
        *(Package(trees, name, version, "nvidia") for name, version in row.apt_build.items() if name not in loose),
        *(File(f"{at['machine-learning']}/{name}_{row.pins[name]}_amd64.deb") for name in loose),
    ]


def _indexes(places: Places) -> tuple[str, ...]:
    return tuple(url.rstrip("/") for url in places.mirrors.get("python", "").split())


def _ended(name: str) -> str:
    release = distribution(name)
    return release.end_of_life if release.ended(ends.today()) else ""


def _unique(questions: Iterable[Question]) -> tuple[Question, ...]:
    return tuple(dict.fromkeys(questions))


@cache
def _sums() -> Any:
    return macros("_checksums.j2")
