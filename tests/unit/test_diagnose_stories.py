"""What users paste: several lines of which one is the cause, and noise that is none."""

import pytest

from provision.logs.diagnose import diagnose_pieces
from tests.unit.diagnose_lines import NOISE

_START = "I0301 10:00:00.000000     7 solver.cpp:44] Initializing solver from parameters: "
_SHOWN = [f"I0301 10:00:0{at}.000000     7 solver.cpp:218] Iteration {at}, loss = 2.3" for at in range(3)]
_STACK = "*** Check failure stack trace: ***"
_CORE = "Aborted (core dumped)"
_TRACE = 'Traceback (most recent call last):\n  File "/home/me/tools/train.py", line 9, in main\n    go()'


def _f(message: str) -> str:
    return f"F0301 10:00:09.000000     7 {message}"


def _e(message: str) -> str:
    return f"E0301 10:00:08.000000     7 {message}"


STORIES: dict[str, tuple[str, list[str]]] = {
    "a Python layer that cannot be imported": ("python-module", [
        _START, "Traceback (most recent call last):", "ImportError: No module named my_layers",
        "terminate called after throwing an instance of 'boost::python::error_already_set'", "*** SIGABRT ***", _CORE]),
    "a Python layer that crashes the program": ("python-layer", [
        _START, "*** Aborted at 1516285468 (unix time) ***", "*** SIGSEGV (@0x48) received by PID 7 ***",
        "    @     0x7f42b753ebd4 caffe::GetPythonLayer()", "Segmentation fault (core dumped)"]),
    "HDF5's own words and Caffe's": ("hdf5", [
        _START, "HDF5-DIAG: Error detected in HDF5 (1.8.11) thread 140:", "  #000: H5F.c line 1604 in H5Fopen()",
        _f("hdf5_data_layer.cpp:31] Failed opening HDF5 file: a.h5"), _STACK]),
    "Detectron without any box": ("detectron-empty-roidb", [
        "INFO train.py: 131: Building model: rcnn", "INFO roidb.py: 135: Filtered 96 roidb entries: 96 -> 0",
        _TRACE, "IndexError: list index out of range"]),
    "Detectron's operator in Python": ("caffe2-python-op", [
        "[E pybind_state.h:424] Exception encountered running PythonOp function: KeyError: (u'extra',)",
        "[E net_async_base.cc:377] [enforce fail at pybind_state.h:425] .", _TRACE, "RuntimeError: [enforce fail"]),
    "Detectron's pictures without keypoints": ("detectron-empty-blob", [
        _TRACE, "RuntimeError: [enforce fail at conv_pool_op_base.h:253] input.size() > 0. Error from operator:"]),
    "Detectron's memory": ("gpu-out-of-memory", [
        _TRACE, ("RuntimeError: [enforce fail at context_gpu.cu:343] error == cudaSuccess. 2 vs 0. Error at: "
        "context_gpu.cu:343: out of memory")]),
    "Detectron's memory by CUDA's number": ("gpu-out-of-memory", [
        _TRACE, "RuntimeError: [enforce fail at context_gpu.cu:343] error == cudaSuccess. 2 vs 0. Error at: x:1",
        "WARNING workspace.py: 234: Original python traceback for operator `1` in exception above (most recent call)",
        "WARNING workspace.py: 239:   File \"tools/train_net.py\", line 132, in <module>"]),
    "the kernel's hand": ("killed", [_START, *_SHOWN, "./train.sh: line 4:  1760 Killed                  caffe train"]),
    "a batch system's memory": ("host-out-of-memory", [
        _START, *_SHOWN, "slurmstepd: error: Detected 1 oom-kill event(s) in step 7.batch cgroup."]),
    "a batch system's clock": ("time-limit", [
        _START, *_SHOWN, "=>> PBS: job killed: walltime 3601 exceeded limit 3600"]),
    "MPI's last word, killed": ("killed", [
        _START, *_SHOWN, "mpirun noticed that process rank 3 with PID 7 on node a exited on signal 9 (Killed)."]),
    "MPI's last word, crashed": ("segmentation-fault", [
        _START, *_SHOWN, "mpirun noticed that process rank 3 with PID 7 exited on signal 11 (Segmentation fault)."]),
    "macOS without the library": ("shared-library", [
        "dyld: Library not loaded: @rpath/libcaffe.so.1.0.0", "  Reason: image not found",
        "./train.sh: line 1:  1760 Abort trap: 6           caffe train"]),
    "another cuDNN than the program's": ("cuda-library", [
        ("build/tools/caffe: error while loading shared libraries: libcudnn.so.5: cannot open shared object file: "
        "No such file or directory")]),
    "no GPU in the container": ("driver-library", [
        _TRACE, "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"]),
    "a picture and too many files": ("too-many-open-files", [
        _START, _e("io.cpp:80] Could not open or find file a.jpg"), "IOError: [Errno 24] Too many open files",
        _f("image_data_layer.cpp:60] Check failed: cv_img.data Could not load a.jpg"), _STACK]),
    "a field and what follows from it": ("wrong-fork-field", [
        ('[libprotobuf ERROR google/protobuf/text_format.cc:245] Error parsing text-format caffe.NetParameter: 9:17: '
        'Message type "caffe.LayerParameter" has no field named "permute_param".'),
        _f("upgrade_proto.cpp:79] Check failed: ReadProtoFromTextFile(f) Failed to parse NetParameter file: a")]),
    "a caffemodel that protobuf finds too big": ("protobuf-limit", [
        ("[libprotobuf ERROR coded_stream.cc:180] A protocol message was rejected because it was too big (more than "
        "67108864 bytes)."), _f("upgrade_proto.cpp:97] Check failed: x Failed to parse NetParameter file: a"), _STACK]),
    "a state that is none": ("state-is-weights", [
        _START, "I0301 10:00:00.000000     7 caffe.cpp:209] Resuming from a_iter_17.caffemodel",
        _f("sgd_solver.cpp:316] Check failed: state.history_size() == history_.size() (0 vs. 14) Incorrect length of "
           "history blobs.")]),
    "a scale that is none": ("sampler", [
        _START, _f("math_functions.cpp:250] Check failed: a <= b (0 vs. -1.19209e-07) ")]),
    "a class too many for SSD": ("label-out-of-range", [
        _START, *_SHOWN, _f("bbox_util.cu:599] Check failed: label < num_classes (2 vs. 2) "), _STACK, _CORE]),
    "an index of numpy's": ("numpy-float-index", [
        _START, *_SHOWN, _TRACE, "TypeError: 'numpy.float64' object cannot be interpreted as an index"]),
    "NCCL's warning and its end": ("nccl-shared-memory", [
        "box:7:7 [0] NCCL INFO NET/Plugin : libnccl-net.so: cannot open shared object file: No such file",
        "box:7:7 [0] NCCL WARN Call to posix_fallocate failed : No space left on device", _START,
        _f("parallel.cpp:264] Check failed: result == ncclSuccess (2 vs. 0)  unhandled system error"), _STACK]),
    "Ctrl-C": ("interrupted", [_START, *_SHOWN, "^CTraceback (most recent call last):", "KeyboardInterrupt"]),
    "a flag that Caffe has not": ("unknown-flag", ["ERROR: unknown command line flag 'gpuid'"]),
    "a script's flag": ("unknown-flag", [
        "usage: train_net.py [-h]", "train_net.py: error: unrecognized arguments: --gp 0"]),
    "no memory for a process": ("host-out-of-memory", [
        _TRACE, "OSError: [Errno 12] Cannot allocate memory"]),
    "pycaffe's file": ("file-not-found", [_TRACE, "RuntimeError: Could not open file models/a.prototxt"]),
    "a mean of another size": ("mean-shape", [_TRACE, "ValueError: Mean shape incompatible with input shape."]),
    "a screen": ("display-missing", [
        _TRACE, "_tkinter.TclError: no display name and no $DISPLAY environment variable"]),
    "DIGITS' own window": ("produced-twice", [
        "ERROR: Top blob 'data' produced by multiple sources.", "Creating layer a"]),
    "an exit code of DIGITS": ("segmentation-fault", ["ERROR: error code -11", "Creating layer cluster"]),
    "a net that ends in nothing": ("empty-blob", [
        _START, _f("blob.cpp:32] Check failed: shape[i] >= 0 (-1 vs. 0) "), _STACK, _CORE]),
    "a GPU in trouble": ("gpu-ecc", [
        _START, *_SHOWN, _f("math_functions.cu:26] Check failed: error == cudaSuccess (39 vs. 0)  uncorrectable ECC "
                            "error encountered")]),
    "boxes that were turned over": ("boxes-flipped", [
        _TRACE, "    assert (boxes[:, 2] >= boxes[:, 0]).all()", "AssertionError"]),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_the_cause_is_the_headline(story: str) -> None:
    name, lines = STORIES[story]
    told = diagnose_pieces(["\n".join([*lines, ""]).encode()])
    assert told.causes and told.causes[0].name == name, [cause.name for cause in told.causes]
    assert told.ending.word == "failed"


@pytest.mark.parametrize("line", NOISE)
def test_noise_is_no_failure(line: str) -> None:
    told = diagnose_pieces(["\n".join([line, _START, line, *_SHOWN, line, ""]).encode()])
    assert told.causes == [] and told.seen == []


def test_noise_beside_a_failure_is_not_named() -> None:
    end = _f("syncedmem.cpp:71] Check failed: error == cudaSuccess (2 vs. 0)  out of memory")
    told = diagnose_pieces(["\n".join([*NOISE, _START, *NOISE, *_SHOWN, *NOISE, end, *NOISE, ""]).encode()])
    assert [cause.name for cause in told.causes] == ["gpu-out-of-memory"]


@pytest.mark.parametrize("line", [
    "cp: cannot stat 'a.prototxt': No such file or directory",
    "mkdir: cannot create directory '/x': Permission denied",
    "tee: log.txt: No space left on device",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    "Gtk-WARNING **: cannot open display: ",
    'Traceback (most recent call last):\n  File "plot.py", line 3, in <module>\nImportError: No module named pylab',
    'Traceback (most recent call last):\n  File "plot.py", line 3, in <module>\nKeyError: 7',
])  # fmt: skip
@pytest.mark.parametrize("later", [
    "I0301 10:09:00.000000  7 solver.cpp:447] Snapshotting to binary proto file a_iter_90.caffemodel",
    "I0301 10:09:00.000000  7 solver.cpp:330] Iteration 90, Testing net (#0)",
    "I0301 10:09:00.000000  7 solver.cpp:326] Optimization Done.",
])  # fmt: skip
def test_what_the_training_outlived_stopped_nothing(line: str, later: str) -> None:
    told = diagnose_pieces(["\n".join([_START, *_SHOWN, line, later, ""]).encode()])
    assert [cause.name for cause in told.causes if cause.kind != "symptom"] == []
    assert told.ending.word == ("well" if "Done" in later else "open")


def test_an_exception_that_python_ignored_stopped_nothing() -> None:
    ignored = ["Exception ignored in: <function close at 0x7>", _TRACE, "TypeError: 'NoneType' object is not callable"]
    assert diagnose_pieces(["\n".join([_START, *_SHOWN, *ignored, ""]).encode()]).causes == []
    found = diagnose_pieces(["\n".join([_START, *_SHOWN, *ignored, _TRACE, "KeyError: 'a'", ""]).encode()]).causes
    assert [cause.text for cause in found] == ["KeyError: 'a'"]


def test_a_library_that_is_preloaded_in_vain_stopped_nothing() -> None:
    line = (
        "ERROR: ld.so: object 'libx.so' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored."
    )
    assert diagnose_pieces(["\n".join([line, _START, *_SHOWN, line, ""]).encode()]).causes == []


def test_what_one_thread_threw_is_the_cause_though_another_wrote_meanwhile() -> None:
    lines = [
        _START, *_SHOWN, "terminate called after throwing an instance of 'cv::Exception'",
        "  what():  imgwarp.cpp:1834: error: (-215) ssize.area() > 0 in function resize",
        "I0301 10:09:00.000000  7 solver.cpp:330] Iteration 90, Testing net (#0)", "Aborted (core dumped)", "",
    ]  # fmt: skip
    assert diagnose_pieces(["\n".join(lines).encode()]).causes[0].name == "picture-not-read"


@pytest.mark.parametrize("line", [
    "rm: cannot remove 'snap': No such file or directory", "mkdir: cannot create directory '/x': Permission denied",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
])  # fmt: skip
def test_a_tool_that_failed_before_the_training_began_is_no_attempt(line: str) -> None:
    told = diagnose_pieces(["\n".join([line, _START, *_SHOWN, ""]).encode()])
    assert (told.causes, told.earlier, told.attempts) == ([], [], 1)
    assert [cause.line for cause in told.seen] == [1]
    end = _f("syncedmem.cpp:71] Check failed: error == cudaSuccess (2 vs. 0)  out of memory")
    told = diagnose_pieces(["\n".join([line, _START, end, ""]).encode()])
    assert (told.causes[0].name, told.attempts) == ("gpu-out-of-memory", 1)
    assert diagnose_pieces([line.encode()]).causes != []
