"""Schemas of the real forks, out of their own sources: fetched by git, or found in the sources that were kept.

What the forks differ in is what `net lint` tells users apart by.
"""

import pytest

from infra.errors import ProvisionError
from provision.net import schema_source
from provision.net.schema import Schema
from provision.net.text import parse
from provision.recipes.loading import load
from provision.recipes.rendering import render

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]


def schema(stack: str) -> Schema:
    found = schema_source.find(stack)
    if found is not None:
        return found
    try:
        return schema_source.fetch(stack, "git", None)
    except ProvisionError as error:
        pytest.skip(f"the source of {stack} cannot be had here: {error.what}")


@pytest.mark.parametrize(
    ("stack", "own"),
    [
        ("caffe-crfrnn", {"MultiStageMeanfield"}),
        ("caffe-ssd", {"PriorBox", "MultiBoxLoss", "AnnotatedData", "Permute"}),
    ],
)
def test_each_fork_has_layers_of_its_own(stack: str, own: set[str]) -> None:
    assert own <= schema(stack).types
    assert not own & schema("caffe").types


@pytest.mark.parametrize(
    ("recipe", "stack"),
    [("digits", "caffe"), ("caffe-classify", "caffe"), ("caffe-detect", "caffe"), ("crfrnn", "caffe-crfrnn"),
     ("ssd-voc", "caffe-ssd")],
)  # fmt: skip
def test_our_recipes_are_in_their_forks_words(recipe: str, stack: str) -> None:
    made, fork = render(load(recipe)), schema(stack)
    for name, text in made.files.items():
        if name.endswith(".prototxt") and name != "labelmap.prototxt":
            kind = "SolverParameter" if name.startswith("solver") else "NetParameter"
            assert list(fork.faults(parse(text), kind)) == [], name


@pytest.mark.parametrize(
    ("recipe", "stack", "path"),
    [("crfrnn", "caffe", "layer.multi_stage_meanfield_param"), ("ssd-voc", "caffe", "layer.annotated_data_param")],
)
def test_another_fork_names_the_first_word_that_it_lacks(recipe: str, stack: str, path: str) -> None:
    faults = {fault.path for fault in schema(stack).faults(parse(render(load(recipe)).files["net.prototxt"]))}
    assert path in faults
