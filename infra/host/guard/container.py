"""The words by which Docker is asked for an attempt's container, and for the proof that the GPUs work in its image.

The laptop has made most of them (`container` of the capsule); what depends on the machine is added here: its user and
its GPUs, and how this Docker gives them.
"""

import re

LOGGED = ["sh", "-c", 'exec "$@" >> "$LOG" 2>&1', "sh"]
TOOLKIT = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
# as every container of ours: see infra/containers.py
PLAIN = ["--init", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "4096",
         "--shm-size", "1024m", "--stop-signal", "SIGTERM"]  # fmt: skip


def gpu_style(words):
    """How this host's Docker gives GPUs: "hook" (NVIDIA's toolkit, Docker >= 19.03), "runtime" (before), or ""."""
    version = re.findall(r"\d+", words(["docker", "version", "-f", "{{.Server.Version}}"])[1])[:2]
    names = words(["docker", "info", "-f", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"])[1].split()
    hook = any(words(["sh", "-c", "command -v " + tool])[0] == 0 for tool in TOOLKIT)
    if hook and [int(part) for part in version] >= [19, 3]:
        return "hook"
    return "runtime" if "nvidia" in names else ""


def gpu_indices(words):
    """The indices of this host's GPUs."""
    code, text = words(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"])
    return [int(line) for line in text.split("\n") if line.strip().isdigit()] if code == 0 else []


def gpu_flags(style, gpus):
    listed = ",".join(map(str, gpus))
    if not gpus:
        return []
    return ["--gpus", '"device=%s"' % listed] if style == "hook" else ["--runtime", "nvidia"]


def environment_flags(known, style, gpus):
    known = dict(known)
    if gpus and style != "hook":
        known["NVIDIA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    return [word for name in sorted(known) for word in ("--env", "%s=%s" % (name, known[name]))]


def name_of(run, number):
    return "provision-%s-%03d" % (run, number)


def create_words(capsule, number, user, style, gpus, stem):
    """`docker create` of the attempt; `stem`: of the snapshot to go on from, None: from nothing."""
    spec = capsule["container"]
    known = dict(spec.get("environment") or {}, LOG="log/attempt-%03d.txt" % number)
    said = ["docker", "create", "--name", name_of(capsule["id"], number), "--user", user] + list(spec["flags"])
    said += ["--label", "provision.attempt=%d" % number]
    said += ["--label", "provision.gpus=" + ",".join(map(str, gpus))]
    said += environment_flags(known, style, gpus) + gpu_flags(style, gpus)
    words = spec["command"] if stem is None else [word.replace("@SNAPSHOT@", stem) for word in spec["resumed"]]
    return said + [spec["image"]] + LOGGED + list(words)


def proof_words(capsule, user, style, gpus):
    """`docker run` of what counts the GPUs in the image."""
    name = "provision-%s-proof" % capsule["id"]
    said = ["docker", "run", "--rm", "--name", name, "--user", user] + PLAIN + ["--workdir", "/tmp"]
    said += ["--label", "provision.proof=" + capsule["id"]]
    said += environment_flags({"HOME": "/tmp"}, style, gpus) + gpu_flags(style, gpus)
    return said + [capsule["container"]["image"]] + list(capsule["proof"]["words"])


def counted(proof, said):
    """How many GPUs the image found."""
    hits = re.findall(proof["found"], said)
    return max([int(hit) for hit in hits] or [0]) if proof["counts"] else len(set(hits))
