"""What this laptop believes of a run's manifest before it acts by it: rents, sends files, starts containers.

What it wrote itself is known by the sum in its notes. A manifest of another laptop is followed, but for folders of this
laptop, which only its user can give; and whoever wrote it, no name in it leads out of the folder that it belongs in.
"""

import re
from pathlib import Path

from infra.aws.s3 import parse
from infra.errors import RunError
from provision import console
from provision.data import PREPARERS
from provision.files.folders import inside
from provision.files.s3_to_host import check_plain
from provision.runs import copies, notes
from provision.runs.manifest import Manifest, Source
from provision.runs.store import AnyRun

_ON_HOST = re.compile(r"/data/sets/(?!\.{1,2}$)[^/\0]{1,255}")


def check(run: AnyRun) -> None:
    """Hold the manifest against this laptop's notes, once; of another laptop's it is said whose it is.

    RunError where it is not the one that this laptop wrote, or names what it must not.
    """
    if run.checked:
        return
    manifest, note = run.manifest, notes.read(run.store, run.id)
    sums = note.sums if note else ()
    if sums and run.digest not in sums:
        raise _changed(run)
    refuse_odd(manifest, run.id)
    run.checked = True
    if not sums:
        who = manifest.settings.started_by or "somebody"
        console.line(f"{run.id} was started by {who}, not on this laptop: none of its folders is taken from here")


def _changed(run: AnyRun) -> RunError:
    hint = run.store.hint
    return RunError(
        f"the manifest of {run.id} in S3 is not the one that this laptop wrote: somebody changed it",
        f"see what it says now: {hint(f'fetch {run.id} DIR')}; to go by it all the same, as by another laptop's: "
        f"rm {notes.path(run.store, run.id)}",
    )


def folders(run: AnyRun) -> tuple[str, ...]:
    """The folders of this laptop that its user gave for the run."""
    note = notes.read(run.store, run.id)
    return note.folders if note else ()


def refuse_odd(manifest: Manifest, run_id: str) -> None:
    """RunError for a manifest that is another run's, or in which a name leads where it must not."""
    if manifest.id != run_id:
        raise _odd(run_id, f"is that of {manifest.id!r}")
    for name in manifest.rendered.files:
        if inside(Path("/work"), name) is None:
            raise _odd(run_id, f"names a file outside of the run's folder: {name!r}")
    for weight in manifest.rendered.weights:
        if "/" in weight.file or weight.file in ("", ".", "..") or "\0" in weight.file:
            raise _odd(run_id, f"names a file of weights outside of its folder: {weight.file!r}")
    for kind, source in (("data", manifest.data), ("code", manifest.project)):
        _refuse_source(run_id, kind, source)


def _refuse_source(run_id: str, kind: str, source: Source) -> None:
    if source.kind not in ("", "prepared", "folder", "s3"):
        raise _odd(run_id, f"has {kind} of an unknown kind: {source.kind!r}")
    if source.folder and not _ON_HOST.fullmatch(source.folder):
        raise _odd(run_id, f"has its {kind} outside of /data/sets on the machine: {source.folder!r}")
    if source.copy and not copies.NAME.fullmatch(source.copy):
        raise _odd(run_id, f"names a copy of its {kind} outside of the run's own: {source.copy!r}")
    if source.kind and not source.folder:
        raise _odd(run_id, f"does not say where its {kind} lies on the machine")
    if source.kind == "prepared" and source.value not in PREPARERS:
        raise _odd(run_id, f"has {kind} that no preparer of ours makes: {source.value!r}")
    if source.kind == "s3":
        check_plain(parse(source.value))


def _odd(run_id: str, what: str) -> RunError:
    return RunError(f"the manifest of {run_id} {what}", "somebody changed it, or it is of another version: train anew")
