"""`make bench`: figures against a peer or a limit, measured in the same run.

Prints a table and writes build/bench.json: name, value, unit, what it is compared with, that one's value, ratio.
CPU seconds where they say more than the clock; medians of seven.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
CLOUD = "local:bench"


def cpu_seconds(words: list[str]) -> float:
    """CPU time, user and system, of one run of a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def clock_seconds(words: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun


def median(measure: Callable[[list[str]], float], words: list[str], times: int = 7) -> float:
    return statistics.median(measure(words) for _ in range(times))


def provision(*words: str) -> list[str]:
    return [sys.executable, "-m", "provision", *words]


def help_row() -> dict[str, object]:
    ours = median(cpu_seconds, provision("--help"))
    return row("provision --help", ours, "CPU s", "limit", 0.15)


def boto3_row() -> dict[str, object]:
    """What any command costs at least that imports boto3 at its start, as all peers do."""
    ours = median(cpu_seconds, provision("--help"))
    peer = median(cpu_seconds, [sys.executable, "-c", "import boto3"])
    return row("provision --help", ours, "CPU s", "import boto3 alone", peer)


def ls_row() -> dict[str, object]:
    """Three instances in the local cloud."""
    try:
        for number in range(3):
            words = provision("up", "--instance", "p2.xlarge", "--name", f"b{number}", "--cloud", CLOUD)
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = median(clock_seconds, provision("ls", "--cloud", CLOUD))
    finally:
        for words in (provision("down", "--all", "--cloud", CLOUD), provision("local", "stop", "--name", "bench")):
            subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return row("provision ls, three instances", ours, "s", "limit", 1.5)


def packages_row() -> dict[str, object]:
    """Packages that `pip install .` brings, beside provision itself."""
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "-q",
        "--report",
        "-",
        str(ROOT),
    ]
    report = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return row("packages of `pip install .`", len(report["install"]) - 1, "packages", "limit", 32)


def demo_row() -> dict[str, object]:
    begun = time.monotonic()
    subprocess.run(
        provision("demo", "--out", str(ROOT / "build" / "bench-demo")), check=True, stdout=subprocess.DEVNULL
    )
    return row("provision demo, with its images built", time.monotonic() - begun, "s", "limit", 120)


def render_rows() -> list[dict[str, object]]:
    from tests.bench_images import rendering

    files, seconds = min((rendering() for _ in range(5)), key=lambda one: one[1])
    return [
        row("image render --all", seconds, "CPU s", "limit", 2.0),
        row("files rendered a second", files / seconds, "files/s", "limit", 1000),
    ]


def image_rows() -> Iterator[dict[str, object]]:
    """Caffe's image, and next to it a plain, single-stage Dockerfile of the same content on the same engine."""
    from tests.bench_images import images

    measured = images()
    ours, mega = next(measured), 1e6
    yield row("build after a change to a patch", ours["warm"], "s", "ours, cold", ours["cold"])
    yield row("caffe image with pycaffe", ours["size"] / mega, "MB", "limit", 750)
    yield row("caffe image without Python", ours["small"] / mega, "MB", "limit", 500)
    plain = next(measured)
    yield row("caffe image with pycaffe", ours["size"] / mega, "MB", "plain Dockerfile", plain["size"] / mega)
    yield row("build, all caches empty", ours["cold"], "s", "plain Dockerfile", plain["cold"])
    yield row("build after a change to a patch", ours["warm"], "s", "plain Dockerfile", plain["warm"])


def launch_rows() -> list[dict[str, object]]:
    """`up` against AWS's limits of time, with delays like AWS's."""
    from tests.bench_launch import launches

    found = launches()
    return [
        # eight of them make the account's bucket, which is done once, and put into it what machines begin with
        row("AWS calls until the launch, cold", found["cold_calls"], "calls", "limit", 23),
        row("AWS calls until the launch, warm", found["warm_calls"], "calls", "limit", 9),
        row("up until ready, cold", found["cold"], "s", "the bound", found["cold_bound"]),
        row("up until ready, warm", found["warm"], "s", "the bound", found["warm_bound"]),
        row("up until ready, cold", found["cold"], "s", "naive, serial", found["naive"]),
    ]


def runs_rows() -> list[dict[str, object]]:
    """`runs` with 200 runs and 50 ms a call; the best of three, as other work on the machine only makes it slower."""
    from tests.bench_runs import RUNS, table_of_runs

    found = min((table_of_runs() for _ in range(3)), key=lambda one: one["seconds"])
    return [
        row(f"listings, runs with {RUNS} runs", found["listings"], "calls", "one for each run", RUNS),
        row(f"runs with {RUNS} runs", found["seconds"], "s", "limit", 2.0),
        row(f"runs with {RUNS} runs", found["seconds"], "s", "the bound", found["bound"]),
    ]


def row(name: str, value: float, unit: str, against: str, other: float) -> dict[str, object]:
    return {
        "name": name, "value": round(value, 3), "unit": unit, "against": against, "other": round(other, 3),
        "ratio": round(value / other, 3),
    }  # fmt: skip


def main() -> None:
    """Each row is printed as soon as it is there, and kept where a later group fails. Words: groups to run alone."""
    rows: list[dict[str, object]] = []
    wanted = sys.argv[1:] or list(GROUPS)
    print(f"{'what':40} {'value':>9} {'unit':9} {'against':20} {'value':>9} {'ratio':>7}")
    try:
        for name in wanted:
            for one in GROUPS[name]():
                rows.append(one)
                print(
                    f"{one['name']!s:40} {one['value']!s:>9} {one['unit']!s:9} {one['against']!s:20} "
                    f"{one['other']!s:>9} {one['ratio']!s:>7}",
                    flush=True,
                )
    finally:
        target = ROOT / "build" / "bench.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")


def data_rows() -> Iterable[dict[str, object]]:
    from tests.bench_data import rows

    return rows()


def visual_genome_rows() -> Iterable[dict[str, object]]:
    from tests.bench_vg import rows

    return rows()


def log_rows() -> Iterable[dict[str, object]]:
    from tests.bench_logs import rows

    return rows()


def net_rows() -> Iterable[dict[str, object]]:
    from tests.bench_nets import rows

    return rows()


def sweep_rows() -> list[dict[str, object]]:
    from tests.bench_sweeps import RUNS, sweep

    found = sweep()
    return [
        row(f"sweep of {RUNS} runs begun", found["start"], "s", "limit", 5.0),
        row(f"sweep status of {RUNS} runs", found["status"], "s", "limit", 2.0),
        row(f"sweep status of {RUNS} runs", found["memory"], "MB", "limit", 100.0),
    ]


def notice_rows() -> list[dict[str, object]]:
    """What the guard saves after a notice, one part of it broken on the way, on a line of 40 MB/s."""
    from tests.bench_notice import rows

    found = rows()
    return [
        row("1 GB saved at the notice, one training", found["one"], "s", "the line alone", found["line"]),
        row("1 GB saved at the notice, four of them", found["four"], "s", "the line alone", found["line"]),
    ]


def kept_rows() -> Iterator[dict[str, object]]:
    """A run that AWS keeps: from the command, and from a spot notice, to the first iteration; cold, and baked."""
    from tests.bench_kept import kept

    for image, measured in kept():
        for name, seconds in measured.parts:
            yield row(f"  {name}", seconds, "s", "all of it", measured.seconds)
        yield row(f"{measured.name}, {image}", measured.seconds, "s", "the bound", measured.bound)


GROUPS: dict[str, Callable[[], Iterable[dict[str, object]]]] = {
    "start": lambda: [help_row(), boto3_row(), packages_row()],
    "ls": lambda: [ls_row()],
    "runs": runs_rows,
    "sweep": sweep_rows,
    "demo": lambda: [demo_row()],
    "launch": launch_rows,
    "kept": kept_rows,
    "render": render_rows,
    "data": data_rows,
    "visual-genome": visual_genome_rows,
    "logs": log_rows,
    "nets": net_rows,
    "notice": notice_rows,
    "images": image_rows,
}


if __name__ == "__main__":
    main()
