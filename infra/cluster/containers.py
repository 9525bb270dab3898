"""The words by which each container runtime of a cluster starts a program in an image that lies as a folder.

None of them needs root, a daemon or a registry. The program's variables come by `env -i`: the runtimes differ in what
they let through. It writes its own number down first, by which it is signalled: wrappers differ in what they pass on.
"""

import os
import re
import shutil
import subprocess

INNER = 'echo $$ > /work/.pid; exec "$@" >> "$LOG" 2>&1'
PASSED = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID",
          "SLURM_ARRAY_TASK_ID", "SLURM_CPUS_PER_TASK")  # fmt: skip
DRIVER = re.compile(r"lib(cuda|nvidia-ml|nvidia-ptxjitcompiler|nvidia-fatbinaryloader|nvidia-nvvm|nvidia-opencl)\.so")
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inner(environment, entry, command):
    """What runs in the container, whichever runtime makes it. `environment` has LOG."""
    said = ["%s=%s" % pair for pair in sorted(environment.items())]
    return ["/usr/bin/env", "-i"] + said + ["sh", "-c", INNER, "sh"] + list(entry) + list(command)


def environment(image, own, driver):
    """The image's variables, then the run's, then what Slurm says of the GPUs."""
    found = {"PATH": SYSTEM}
    found.update(word.split("=", 1) for word in image if "=" in word)
    found.update(own)
    found.update((name, os.environ[name]) for name in PASSED if name in os.environ)
    if driver:
        found["LD_LIBRARY_PATH"] = ":".join(["/driver"] + [way for way in [found.get("LD_LIBRARY_PATH")] if way])
    return found


def words(runtime, image, binds, gpus, program):
    """The command line. `binds`: [(folder, place in the container, may write)]."""
    return FORMS[runtime](image, binds, gpus, list(program))


def charliecloud(image, binds, gpus, program):
    said = ["ch-run", "--unset-env=*"]
    for folder, place, _ in binds:
        said += ["--bind", "%s:%s" % (folder, place)]
    return said + ["--cd", "/work", image, "--"] + program


def apptainer(image, binds, gpus, program, name="apptainer"):
    said = [name, "exec", "--cleanenv", "--no-home"] + (["--nv"] if gpus else [])
    for folder, place, writes in binds:
        said += ["--bind", "%s:%s%s" % (folder, place, "" if writes else ":ro")]
    return said + ["--pwd", "/work", image] + program


def singularity(image, binds, gpus, program):
    return apptainer(image, binds, gpus, program, "singularity")


def podman(image, binds, gpus, program):
    said = ["podman", "run", "--rm", "--network", "host", "--pid", "host", "--userns", "keep-id"]
    said += ["--security-opt", "label=disable"] + (["--device", "nvidia.com/gpu=all"] if gpus else [])
    for folder, place, writes in binds:
        said += ["--volume", "%s:%s:%s" % (folder, place, "rw" if writes else "ro")]
    return said + ["--workdir", "/work", "--rootfs", image + ":O"] + program


def pyxis(image, binds, gpus, program):
    mounts = ",".join("%s:%s:%s" % (folder, place, "rw" if writes else "ro") for folder, place, writes in binds)
    said = ["srun", "--ntasks=1", "--container-image=%s.sqsh" % image, "--container-mounts=" + mounts]
    return said + ["--container-workdir=/work", "--no-container-mount-home"] + program


FORMS = {"pyxis": pyxis, "apptainer": apptainer, "singularity": singularity, "podman": podman,
         "charliecloud": charliecloud}  # fmt: skip


def driver_files(ldconfig):
    """The files of NVIDIA's driver that `ldconfig -p` names, of 64 bits: {name: path}."""
    found = {}
    for line in ldconfig.split("\n"):
        name, _, path = line.strip().partition(" => ")
        if DRIVER.match(name) and "x86-64" in name:
            found.setdefault(name.split(" ")[0], path)
    return found


def bring_driver(folder):
    """Copy the node's own driver files, for a runtime that brings none into the container; whether there are any."""
    done = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE)
    found = driver_files(done.stdout.decode(errors="replace"))
    for name, path in found.items():
        shutil.copyfile(path, os.path.join(folder, name))
    return bool(found)
