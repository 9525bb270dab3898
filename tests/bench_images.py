"""The images' part of `make bench`: rendering, and Caffe's image next to a plain Dockerfile of the same content.

Cold: no layer, no compiler cache, no package in a cache. Warm: another patch set of the same source, as after a change
to a patch; layers and caches are those of the cold build.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

from images.build import Order, build_context, remove
from images.choose import parse, targets
from images.render import Context, render
from images.source import Source
from infra.shell import LocalShell
from tests.engine.caffe_kit import TARGET, source

SHELL = LocalShell()

_PLAIN = """\
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends {packages}
COPY . /context
RUN sh /context/get_source.sh none none /src && python3 /context/apply_patches.py /context/patches.json /src
WORKDIR /src
RUN sed 's|/opt/ccache/||' /context/Makefile.config > Makefile.config && make -j"$(nproc)" all pycaffe
ENV PATH=/src/build/tools:$PATH PYTHONPATH=/src/python
"""
_EMPTY = """\
FROM {base}
RUN --mount=type=cache,id=bench-debian12-ccache,target=/a --mount=type=cache,id=bench-debian12-archives,target=/b \\
    --mount=type=cache,id=bench-debian12-lists,target=/c find /a /b /c -mindepth 1 -delete
"""


def rendering() -> tuple[int, float]:
    """Files rendered, and the CPU seconds that it took."""
    wanted = list(targets())
    begun = time.process_time()
    files = sum(len(render(one).files) for one in wanted)
    return files, time.process_time() - begun


def _own_caches(context: Context) -> Context:
    """The same with cache mounts of the benchmark's own, so that cold is cold."""
    text = context.dockerfile.replace("id=provision-", "id=bench-")
    return replace(context, files=tuple(sorted({**dict(context.files), "Dockerfile": text}.items())))


def _not_built_before(context: Context) -> Context:
    """The same with one more file in the patched tree, so that no layer behind it is an earlier run's."""
    files = dict(context.files)
    patches = json.loads(files["patches.json"])
    patches[-1].setdefault("create", []).append({"file": "bench.txt", "text": f"{time.time_ns()}\n"})
    files["patches.json"] = json.dumps(patches)
    return replace(context, files=tuple(sorted(files.items())))


def _plain(context: Context) -> Context:
    dist = context.target.distribution
    packages = " ".join([f"g++-{context.target.gcc}", "g++", *dist.build, *dist.pycaffe])
    text = _PLAIN.format(base=context.target.variant.base, packages=packages)
    return replace(context, files=tuple(sorted({**dict(context.files), "Dockerfile": text}.items())))


def _build(context: Context, tree: Source, *, no_cache: bool = False) -> tuple[float, int]:
    """Seconds and bytes."""
    begun = time.monotonic()
    made = build_context(context, SHELL, None, Order(tree), no_cache=no_cache)
    seconds = time.monotonic() - begun
    remove(made, SHELL)
    return seconds, made.size


def images() -> Iterator[dict[str, float]]:
    """Ours: seconds (cold, warm) and bytes (with Python and without), as soon as they are measured; then the plain
    one's seconds (cold, warm) and bytes."""
    tree, target = source(), parse(TARGET)
    ours = _own_caches(render(target, column_buffer="none"))
    changed = _not_built_before(_own_caches(render(target)))
    empty = replace(ours, files=(("Dockerfile", _EMPTY.format(base=target.variant.base)),))
    _build(empty, Source(), no_cache=True)
    cold, _ = _build(ours, tree, no_cache=True)
    warm, size = _build(changed, tree)
    small = build_context(changed, SHELL, None, Order(tree, "runtime-nopython"))
    remove(small, SHELL)
    yield {"cold": cold, "warm": warm, "size": size, "small": small.size}
    plain_cold, plain_size = _build(_plain(render(target, column_buffer="none")), tree, no_cache=True)
    plain_warm, _ = _build(_not_built_before(_plain(render(target))), tree)
    yield {"cold": plain_cold, "warm": plain_warm, "size": plain_size}
