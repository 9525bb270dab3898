"""The shortest line that shows each failure which `diagnose` knows, and the name of its rule; and lines of noise."""

CUDA = "Check failed: error == cudaSuccess"
CUDNN = "Check failed: status == CUDNN_STATUS_SUCCESS"
LMDB = "db_lmdb.hpp:15] Check failed: mdb_status == 0"

# what glog says as it ends the program: message → rule
FATAL = {
    # GPUs
    f"syncedmem.cpp:71] {CUDA} (2 vs. 0)  out of memory": "gpu-out-of-memory",
    f"cudnn_conv_layer.cpp:53] {CUDNN} (2 vs. 0)  CUDNN_STATUS_ALLOC_FAILED": "gpu-out-of-memory",
    f"math_functions.cu:79] {CUDA} (77 vs. 0)  an illegal memory access was encountered": "illegal-memory-access",
    f"math_functions.cu:79] {CUDA} (700 vs. 0)  an illegal memory access was encountered": "illegal-memory-access",
    f"math_functions.cu:26] {CUDA} (77 vs. 0)  ": "illegal-memory-access",  # the number alone
    f"loss.cu:5] {CUDA} (59 vs. 0)  device-side assert triggered": "illegal-memory-access",
    f"syncedmem.hpp:18] {CUDA} (11 vs. 0)  invalid argument": "cuda-invalid-argument",
    f"syncedmem.hpp:18] {CUDA} (1 vs. 0)  invalid argument": "cuda-invalid-argument",
    f"im2col.cu:61] {CUDA} (8 vs. 0)  invalid device function": "no-kernel-image",
    f"im2col.cu:61] {CUDA} (98 vs. 0)  invalid device function": "no-kernel-image",
    f"im2col.cu:61] {CUDA} (48 vs. 0)  no kernel image is available for execution on the device": "no-kernel-image",
    f"im2col.cu:61] {CUDA} (209 vs. 0)  no kernel image is available for execution on the device": "no-kernel-image",
    f"common.cpp:152] {CUDA} (35 vs. 0)  CUDA driver version is insufficient for CUDA runtime version":
        "driver-too-old",
    f"common.cpp:152] {CUDA} (222 vs. 0)  the provided PTX was compiled with an unsupported toolchain.":
        "driver-too-old",
    f"common.cpp:152] {CUDA} (38 vs. 0)  no CUDA-capable device is detected": "no-gpu",
    f"common.cpp:152] {CUDA} (100 vs. 0)  no CUDA-capable device is detected": "no-gpu",
    f"common.cpp:155] {CUDA} (10 vs. 0)  invalid device ordinal": "invalid-device",
    f"common.cpp:155] {CUDA} (101 vs. 0)  invalid device ordinal": "invalid-device",
    f"common.cpp:155] {CUDA} (46 vs. 0)  all CUDA-capable devices are busy or unavailable": "gpu-busy",
    f"common.cpp:155] {CUDA} (30 vs. 0)  unknown error": "cuda-unknown",
    f"math_functions.cu:26] {CUDA} (4 vs. 0)  unspecified launch failure": "launch-failure",
    f"math_functions.cu:26] {CUDA} (719 vs. 0)  unspecified launch failure": "launch-failure",
    f"math_functions.cu:26] {CUDA} (719 vs. 0)  ": "launch-failure",
    f"math_functions.cu:26] {CUDA} (39 vs. 0)  uncorrectable ECC error encountered": "gpu-ecc",
    f"syncedmem.hpp:19] {CUDA} (3 vs. 0)  initialization error": "cuda-fork",
    f"math_functions.cu:26] {CUDA} (74 vs. 0)  misaligned address": "launch-failure",
    f"common.cpp:155] {CUDA} (54 vs. 0)  exclusive-thread device already in use by a different thread": "gpu-busy",
    f"math_functions.cu:26] {CUDA} (218 vs. 0)  a PTX JIT compilation failed": "no-kernel-image",
    f"math_functions.cu:26] {CUDA} (6 vs. 0)  the launch timed out and was terminated": "cuda-timeout",
    f"pool.cu:200] {CUDA} (9 vs. 0)  invalid configuration argument": "cuda-launch-size",
    f"conv.cu:20] {CUDA} (7 vs. 0)  too many resources requested for launch": "cuda-launch-size",
    f"parallel.cpp:130] {CUDA} (704 vs. 0)  peer access is already enabled": "cuda-peer-access",
    f"syncedmem.cpp:10] {CUDA} (29 vs. 0)  driver shutting down": "cuda-shutdown",
    f"conv.cpp:53] {CUDNN} (4 vs. 0)  CUDNN_STATUS_INTERNAL_ERROR": "cudnn",
    f"conv.cpp:53] {CUDNN} (6 vs. 0)  CUDNN_STATUS_ARCH_MISMATCH": "cudnn-gpu-too-old",
    f"conv.cpp:53] {CUDNN} (13 vs. 0)  CUDNN_STATUS_VERSION_MISMATCH": "cudnn-version",
    "math_functions.cu:28] Check failed: status == CUBLAS_STATUS_SUCCESS (13 vs. 0)  CUBLAS_STATUS_EXECUTION_FAILED":
        "cublas",
    "parallel.cpp:264] Check failed: result == ncclSuccess (2 vs. 0)  unhandled system error": "nccl",
    "caffe.cpp:245] Multi-GPU execution not available - rebuild with USE_NCCL": "multi-gpu-not-built",
    "common.cpp:66] Cannot use GPU in CPU-only Caffe: check mode.": "cpu-only",
    "data_layer.cpp:353] CPU-only Mode": "data-layer-cpu-gpu",
    # the machine
    "syncedmem.hpp:25] Check failed: *ptr host allocation of size 51380224000 failed": "host-out-of-memory",
    "internal_thread.cpp:38] Thread exception: boost::thread_resource_error: Resource temporarily unavailable":
        "threads",
    "io.cpp:69] Check failed: proto.SerializeToOstream(&output) ": "snapshot-stream",
    "solver.cpp:448] Cannot write to snapshot prefix 'snap/a'.  Make sure that the directory exists and is writable.":
        "snapshot-prefix",
    "hdf5.cpp:75] Check failed: file_hid >= 0 (-1 vs. 0) Error saving hdf5 to snap.h5": "snapshot-not-written",
    "net.cpp:900] Check failed: file_hid >= 0 (-1 vs. 0) Couldn't open a.h5 to save weights.": "snapshot-not-written",
    # databases
    f"{LMDB} (2 vs. 0) No such file or directory": "lmdb-missing",
    f"{LMDB} (-30792 vs. 0) MDB_MAP_FULL: Environment mapsize limit reached": "lmdb-full",
    f"{LMDB} (12 vs. 0) Cannot allocate memory": "lmdb-map",
    f"{LMDB} (28 vs. 0) No space left on device": "disk-full",
    f"{LMDB} (112 vs. 0) Unknown error": "disk-full",
    f"{LMDB} (37 vs. 0) No locks available": "lmdb-locks",
    f"{LMDB} (11 vs. 0) Resource temporarily unavailable": "lmdb-readers",
    f"{LMDB} (-30790 vs. 0) MDB_READERS_FULL: Environment maxreaders limit reached": "lmdb-readers",
    f"{LMDB} (-30796 vs. 0) MDB_CORRUPTED: Located page was wrong type": "lmdb-damaged",
    f"{LMDB} (-30793 vs. 0) MDB_INVALID: File is not an LMDB file": "lmdb-damaged",
    f"{LMDB} (13 vs. 0) Permission denied": "permission",
    f"{LMDB} (30 vs. 0) Read-only file system": "read-only",
    f"{LMDB} (5 vs. 0) Input/output error": "disk-error",
    f"{LMDB} (4711 vs. 0) Unknown error": "lmdb",
    "db_leveldb.cpp:16] Check failed: status.ok() Failed to open leveldb train_leveldb": "leveldb",
    "db_leveldb.cpp:16] Check failed: status.ok() Failed to open leveldb a IO error: lock a/LOCK: already held by "
    "process": "leveldb-lock",
    "hdf5_data_layer.cpp:32] Failed opening HDF5 file: a.h5": "hdf5-file",
    "hdf5_data_layer.cpp:90] Failed to open source file: list.txt": "hdf5-file",
    "blob.cpp:34] Check failed: shape[i] <= 2147483647 / count_ (99 vs. 9) blob size exceeds INT_MAX": "hdf5-size",
    # nets and solvers
    "softmax_loss_layer.cpp:47] Check failed: outer_num_ * inner_num_ == bottom[1]->count() (32 vs. 64) Number of "
    "labels must match number of predictions; e.g., if softmax axis == 1": "labels-not-predictions",
    "net.cpp:757] Cannot copy param 0 weights from layer 'ip2'; shape mismatch.  Source param shape is 10 128 (1280);"
    " target param shape is 20 128 (2560).": "shape-mismatch",
    "blob.cpp:455] Check failed: ShapeEquals(proto) shape mismatch (reshape not set)": "shape-mismatch",
    "layer_factory.hpp:81] Check failed: registry.count(type) == 1 (0 vs. 1) Unknown layer type: MultiStageMeanfield"
    " (known types: AbsVal, Accuracy)": "wrong-fork-layer",
    "upgrade_proto.cpp:97] Check failed: ReadProtoFromBinaryFile(f, p) Failed to parse NetParameter file: a": "parse",
    "insert_splits.cpp:29] Unknown bottom blob 'x' (layer 'ip', bottom index 0)": "unknown-bottom",
    "net.cpp:400] Top blob 'data' produced by multiple sources.": "produced-twice",
    "layer.hpp:350] Check failed: ExactNumBottomBlobs() == bottom.size() (2 vs. 1) SoftmaxWithLoss Layer takes 2 "
    "bottom blob(s) as input.": "blobs-of-a-layer",
    "smooth_L1_loss_layer.cpp:19] Check failed: bottom.size() == 4 (3 vs. 4) If weights are used, must specify both "
    "inside and outside weights.": "fast-rcnn-loss",
    "blob.hpp:593] Check failed: current_type == new_type (3 vs. 1) Attempt to change TBlob native data type":
        "blob-type",
    "net.cpp:717] Check failed: a->channels() == b.channels() (1 vs. 3) Incompatible parameter size for layer conv1_1":
        "shape-mismatch",
    "softmax_loss_layer.cpp:86] Unexpected label 19": "label-out-of-range",
    "lrn.cpp:9] Check failed: top[0] != bottom[0] (0x1 vs. 0x1) Pooling Layer does not allow in-place computation.":
        "in-place",
    "softmax_loss_layer.cpp:90] SoftmaxWithLoss Layer cannot backpropagate to label inputs.": "no-gradient",
    "threshold_layer.hpp:60] Not Implemented Yet": "not-implemented",
    "layer_factory.cpp:72] Layer conv1 has unknown engine.": "engine",
    "conv.cpp:40] Check failed: kernel_shape_data[i] > 0 (0 vs. 0) Filter dimensions must be nonzero.": "layer-option",
    "net.cpp:470] Cannot share param 'w' owned by layer 'a' with layer 'b'; count mismatch.": "shared-weights",
    "sgd_solver.cpp:70] Unknown learning rate policy: steps": "solver-option",
    "sgd_solver.cpp:320] Check failed: state.history_size() == history_.size() (4 vs. 8) Incorrect length of history "
    "blobs.": "solver-state",
    "sgd_solver.cpp:316] Check failed: state.history_size() == history_.size() (0 vs. 14) Incorrect length of history "
    "blobs.": "state-is-weights",
    "caffe.cpp:156] Check failed: FLAGS_solver.size() > 0 (0 vs. 0) Need a solver definition to train.": "caffe-usage",
    "multi_stage_meanfield.cpp:70] The file 'spatial.par' is not found. Please provide it in order to continue.":
        "spatial-par",
    # data
    "accuracy_layer.cpp:61] Check failed: label_value < num_labels (10 vs. 10) ": "label-out-of-range",
    "data_transformer.cpp:60] Check failed: datum_height == data_mean_.height() (224 vs. 256) ": "mean-shape",
    "data_transformer.cpp:70] Check failed: mean_values_.size() == 1 Specify either 1 mean_value or as many as "
    "channels: 1": "mean-values",
    "data_transformer.cpp:168] Check failed: datum_height >= crop_size (200 vs. 227) ": "crop-larger",
    "data_transformer.cpp:550] Check failed: height <= datum_height (321 vs. 300) ": "crop-larger",
    "data_transformer.cpp:170] Check failed: datum_height == height (375 vs. 500) ": "picture-sizes",
    "data_transformer.cpp:465] Check failed: datum_channels > 0 (0 vs. 0) ": "picture-sizes",
    "data_transformer.cpp:600] Check failed: datum.encoded() Datum not encoded": "datum-not-encoded",
    "data_transformer.cpp:148] Encoded datum requires OpenCV; compile with USE_OPENCV.": "encoded-needs-opencv",
    "image_data_layer.cpp:60] Check failed: cv_img.data Could not load a.jpg": "picture-not-read",
    "detection_output.cpp:80] Check failed: ReadProtoFromTextFile(f, &m) Failed to read label map file: a": "label-map",
    "annotated_data_layer.cpp:60] Check failed: has_anno_type_ some datum misses AnnotationType": "annotated-datum",
    "bbox_util.cpp:1190] Check failed: label < colors.size() (10 vs. 10) ": "ssd-visualize",
    "detection_evaluate_layer.cpp:58] Check failed: bottom[1]->width() == 8 (1 vs. 8) ": "annotated-datum",
    "bbox_util.cpp:1066] Check failed: background_label_id != label (0 vs. 0) Found background label in the dataset.":
        "background-label",
    "io.cpp:325] Check failed: 'anno' Must be non NULL ": "annotation-file",
    "sampler.cpp:50] Check failed: sampler.min_scale() > 0. (0 vs. 0) ": "sampler",
    "annotated_data_layer.cpp:205] Check failed: std::equal(top_shape.begin() + 1, top_shape.begin() + 4, s.begin())":
        "picture-sizes",
    "math_functions.cpp:250] Check failed: a <= b (0 vs. -1.19209e-07) ": "sampler",
    "detection_output_layer.cpp:70] Check failed: num_test_image_ <= names_.size() (9 vs. 8) ": "name-size-file",
    "data_reader.cpp:112] Check failed: new_queue_pairs_.size() == 0 (1 vs. 0) ": "data-reader",
    "image_data_layer.cpp:40] Check failed: !lines_.empty() File is empty": "empty-list",
    "window_data_layer.cpp:60] Check failed: infile.good() Failed to open window file w.txt": "window-file",
    "memory_data_layer.cpp:110] Check failed: data_ MemoryDataLayer needs to be initialized by calling Reset":
        "memory-data",
    "io.cpp:36] Check failed: fd != -1 (-1 vs. -1) File not found: net.prototxt": "file-not-found",
    # shapes
    "multibox_loss_layer.cpp:140] Check failed: num_priors_ * num_classes_ == bottom[1]->channels() (9 vs. 8) Number "
    "of priors must match number of confidence predictions.": "priors",
    "prior_box_layer.cpp:12] Check failed: param.min_size_size() > 0 (0 vs. 0) must provide min_size.": "prior-box",
    "reshape_layer.cpp:80] Check failed: 0 == bottom[0]->count() % explicit_count (0 vs. 3) bottom count (9) must be "
    "divisible by the product of the specified dimensions (6)": "reshape",
    "concat_layer.cpp:42] Check failed: top_shape[j] == bottom[i]->shape(j) (28 vs. 27) All inputs must have the same "
    "shape, except at concat_axis.": "concat",
    "eltwise_layer.cpp:34] Check failed: bottom[0]->shape() == bottom[i]->shape() bottom[0]: 1 2": "elementwise",
    "inner_product_layer.cpp:64] Check failed: K_ == new_K (9216 vs. 6400) Input size incompatible with inner product "
    "parameters.": "inner-product-size",
    "base_conv_layer.cpp:120] Check failed: channels_ % group_ == 0 (1 vs. 0) ": "convolution-channels",
    "blob.hpp:140] Check failed: num_axes() <= 4 (5 vs. 4) Cannot use legacy accessors on Blobs with > 4 axes.":
        "spatial-axes",
    "blob.hpp:120] Check failed: axis_index < num_axes() (1 vs. 1) axis 1 out of range for 1-D Blob": "axis-range",
    "crop_layer.cpp:80] the crop for dimension 2 is out-of-bounds with size 500 and offset 19": "crop-bounds",
    "blob.cpp:115] Check failed: data_ ": "empty-blob",
    "blob.cpp:32] Check failed: shape[i] >= 0 (-1 vs. 0) ": "empty-blob",
    "euclidean_loss_layer.cpp:12] Check failed: bottom[0]->count(1) == bottom[1]->count(1) (4 vs. 1) Inputs must have "
    "the same dimension.": "loss-shapes",
    "accuracy_layer.cpp:35] Check failed: top_k_ <= bottom[0]->count() (5 vs. 2) top_k must be less than or equal to "
    "the number of classes.": "top-k",
    "scale_layer.cpp:70] Check failed: a >= b (4 vs. 5) scale blob's shape extends past bottom[0]'s shape":
        "scale-shape",
    "base_conv_layer.cpp:147] Incorrect weight shape: expected shape 9 1; instead, shape was 8 1": "normalize-shape",
    # Python
    "python_layer.hpp:25] PythonLayer does not support CLI Multi-GPU, use train.py": "python-layer-multi-gpu",
    # what Caffe's parts say beside that
    f"common.cpp:159] {CUDA} (802 vs. 0)  system not yet initialized": "fabric-manager",
    f"common.cpp:159] {CUDA} (802 vs. 0)  ": "fabric-manager",
    "math_functions.cu:110] Check failed: status == CURAND_STATUS_SUCCESS (201 vs. 0)  CURAND_STATUS_LAUNCH_FAILURE":
        "curand",
    "memory.cpp:90] Check failed: free >= size Out of memory on device 0": "gpu-out-of-memory",
    f"{LMDB} (-30798 vs. 0) MDB_NOTFOUND: No matching key/data pair found": "lmdb-empty",
    "db_lmdb.cpp:26] Check failed: mkdir(source.c_str(), 0744) == 0 (-1 vs. 0) mkdir train_lmdb failed":
        "database-there",
    "db.cpp:18] Unknown database backend": "database-backend",
    "hdf5.cpp:83] Check failed: status >= 0 (-1 vs. 0) Failed to load float dataset label": "hdf5-dataset",
    "hdf5.cpp:57] Unsupported datatype class: H5T_STRING": "hdf5-dataset",
    "hdf5_data_layer.cpp:60] Check failed: hdf_blobs_[i]->shape(0) == num (9 vs. 8) ": "hdf5-dataset",
    "layer_factory.hpp:66] Check failed: registry.count(type) == 0 (1 vs. 0) Layer type Pooling already registered.":
        "caffe-twice",
    "blob.cpp:488] Check failed: count_ == proto.data_size() (9 vs. 0) ": "weights-short",
    "roi_pooling_layer.cpp:70] Check failed: roi_batch_ind >= 0 (-1 vs. 0) ": "roi-batch",
    "embed_layer.cpp:65] Check failed: index < K_ (8801 vs. 8801) ": "embed-index",
    "recurrent_layer.cpp:25] Check failed: bottom[1]->num_axes() == 2 (4 vs. 2) bottom[1] must have exactly 2 axes -- "
    "(#timesteps, #streams)": "recurrent-shape",
    # nobody's
    "io.cpp:69] Something that nobody knows": "unknown",
}  # fmt: skip

# what others say, mostly without glog: line → rule
OTHER = {
    # libraries
    "caffe: error while loading shared libraries: libcudart.so.8.0: cannot open shared object file": "cuda-library",
    "ImportError: libcudnn.so.6: cannot open shared object file: No such file or directory": "cuda-library",
    "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory": "driver-library",
    "caffe: error while loading shared libraries: libhdf5_hl.so.10: cannot open shared object file": "shared-library",
    "caffe: /usr/lib/libstdc++.so.6: version `GLIBCXX_3.4.21' not found (required by caffe)": "system-too-old",
    "ImportError: /work/_caffe.so: undefined symbol: _ZN6google8protobuf7Message": "undefined-symbol",
    "[libprotobuf FATAL common.cc:61] This program requires version 3.1.0 of the Protocol Buffer runtime library, which"
    " is not compatible with the installed version (2.6.1)": "protobuf-version",
    "train.sh: line 2: caffe: command not found": "program-missing",
    "ERROR: unknown command line flag 'gpus'": "unknown-flag",
    "ImportError: cuDNN version mismatch: source was compiled with 7005": "cudnn-version",
    # the machine
    "IOError: [Errno 24] Too many open files: 'a.jpg'": "too-many-open-files",
    "RuntimeError: unable to open shared memory object </torch_1> in read-write mode": "shared-memory",
    "terminate called after throwing an instance of 'std::bad_alloc'": "host-out-of-memory",
    "IOError: [Errno 28] No space left on device": "disk-full",
    "OSError: [Errno 30] Read-only file system: '/data/x'": "read-only",
    "bash: ./train.sh: Permission denied": "permission",
    "IOError: [Errno 5] Input/output error": "disk-error",
    # HDF5, protobuf
    "HDF5-DIAG: Error detected in HDF5 (1.8.16) thread 0:": "hdf5",
    "Warning! ***HDF5 library version mismatched error***": "hdf5-version",
    "[libprotobuf ERROR google/protobuf/text_format.cc:274] Error parsing text-format caffe.NetParameter: 674:2: "
    'Message type "caffe.LayerParameter" has no field named "spatial_filter_weights_str".': "wrong-fork-field",
    "[libprotobuf ERROR google/protobuf/text_format.cc:274] Error parsing text-format caffe.NetParameter: 7:2: "
    "Expected identifier.": "parse",
    "[libprotobuf ERROR coded_stream.cc:171] A protocol message was rejected because it was too big (more than 67108864"
    " bytes).": "protobuf-limit",
    "ERROR: Top blob 'data' produced by multiple sources.": "produced-twice",
    "I1120 23:36:21.594349     6 sgd_solver.cpp:106] Iteration 0, lr = -nan": "rate-not-a-number",
    "E1120 23:36:21.594349     6 common.cpp:114] Cannot create Cublas handle. Cublas won't be available.":
        "cuda-handles",
    "google.protobuf.message.DecodeError: Error parsing message": "parse",
    # Detectron
    "CRITICAL train.py:  98: Loss is NaN": "detectron-nan",
    "E0206 22:29:03.315418   605 pybind_state.h:422] Exception encountered running PythonOp function: "
    "AssertionError: Negative areas founds": "detectron-negative-areas",
    "E0206 22:29:03.315418   605 pybind_state.h:422] Exception encountered running PythonOp function: KeyError: 'a'":
        "caffe2-python-op",
    "ValueError: could not broadcast input array from shape (4) into shape (0)": "detectron-num-classes",
    "_pickle.UnpicklingError: pickle data was truncated": "detectron-truncated-checkpoint",
    "EOFError: Ran out of input": "detectron-truncated-checkpoint",
    "NotImplementedError: No evaluator for dataset: toy_train": "detectron-no-evaluator",
    "INFO test_net.py: 109: Waiting for '/work/model_final.pkl' to exist...": "detectron-waiting",
    "AssertionError: Image '/data/1.jpg' not found": "detectron-missing-image",
    "KeyError: u'area'": "detectron-missing-image",
    "RuntimeError: [enforce fail at common_gpu.cc] Caffe2 : Cannot find CUDA": "detectron-no-gpu",
    "RuntimeError: [enforce fail at operator.cc:185] op. Cannot create operator of type 'AffineChannel' on the device "
    "'CUDA'.": "caffe2-operator",
    "RuntimeError: [enforce fail at conv_pool_op_base.h:253] input.size() > 0. ": "detectron-empty-blob",
    "RuntimeError: [enforce fail at math_gpu.cu:1] status == CURAND_STATUS_SUCCESS. CURAND_STATUS_ALLOCATION_FAILED":
        "gpu-out-of-memory",
    "INFO roidb.py: 122: Filtered 20 roidb entries: 20 -> 0": "detectron-empty-roidb",
    "KeyError: 'Non-existent config key: TRAIN.FOO'": "detectron-config",
    "AssertionError: Workspace blob w with shape (81,) does not match weights file shape (3,)": "detectron-weights",
    "AssertionError: Unknown dataset name: toys": "detectron-dataset",
    # Python
    "TypeError: 'numpy.float64' object cannot be interpreted as an index": "numpy-float-index",
    "AttributeError: module 'numpy' has no attribute 'int'": "numpy-alias",
    "NameError: name 'xrange' is not defined": "python2-code",
    "UnicodeDecodeError: 'ascii' codec can't decode byte 0x8e": "pickle-encoding",
    "ImportError: No module named _caffe": "caffe-protobuf-import",
    "ImportError: No module named cython_bbox": "cython-not-built",
    "ModuleNotFoundError: No module named 'pascal_layers'": "python-module",
    # PyTorch 1.0 to 2.7, TensorFlow 1 and 2, JAX 0.4, numpy 1 and 2, transformers 4, torchvision's references
    "ImportError: No module named timm": "python-module",
    "ImportError: cannot import name 'container_abcs' from 'torch._six' (/opt/torch/_six.py)": "python-module",
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.78 GiB total capacity)":
        "gpu-out-of-memory",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB":
        "gpu-out-of-memory",
    "ResourceExhaustedError: OOM when allocating tensor with shape[64,512] on /job:localhost/task:0/device:GPU:0":
        "gpu-out-of-memory",
    "ResourceExhaustedError: OOM when allocating tensor with shape[64,512] on /job:localhost/task:0/device:CPU:0":
        "host-out-of-memory",
    "XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.":
        "gpu-out-of-memory",
    "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. ": "host-out-of-memory",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000, 1000)":
        "host-out-of-memory",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory: you tried to":
        "host-out-of-memory",
    "RuntimeError: DataLoader worker (pid(s) 4711, 4712) exited unexpectedly": "loader-worker",
    "RuntimeError: DataLoader worker (pid 42) is killed by signal: Bus error. It is possible that dataloader's workers "
    "are out of shared memory.": "shared-memory",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device": "no-kernel-image",
    "NVIDIA H100 with CUDA capability sm_90 is not compatible with the current PyTorch installation.":
        "no-kernel-image",
    "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).": "driver-too-old",
    "RuntimeError: Found no NVIDIA driver on your system.": "no-gpu",
    "RuntimeError: No CUDA GPUs are available": "no-gpu",
    "AssertionError: Torch not compiled with CUDA enabled": "torch-without-cuda",
    "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1333":
        "nccl",
    "RuntimeError: NCCL communicator was aborted on rank 1: ncclSystemError: System call failed": "nccl",
    "[rank1]:[E ProcessGroupNCCL.cpp:475] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4)":
        "collective-timeout",
    "Loss is nan, stopping training": "loss-not-a-number",
    "FloatingPointError: Loss became infinite or NaN at iteration=12!": "loss-not-a-number",
    "Batch 5: Invalid loss, terminating training": "loss-not-a-number",
    "RuntimeError: Function 'MulBackward0' returned nan values in its 0th output.": "loss-not-a-number",
    "RuntimeError: PytorchStreamWriter failed writing file data/3: file write failed": "checkpoint-not-written",
    "RuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0": "checkpoint-not-written",
    "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory":
        "checkpoint-broken",
    "_pickle.UnpicklingError: invalid load key, 'v'.": "checkpoint-broken",
    "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded": "weights-only",
    "RuntimeError: Error(s) in loading state_dict for ResNet:": "state-dict",
    "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!":
        "device-mix",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ": "child-failed",
    "python: can't open file '/work/trian.py': [Errno 2] No such file or directory": "file-not-found",
    "OSError: We couldn't connect to 'https://huggingface.co' to load this file": "network",
    "_tkinter.TclError: no display name and no $DISPLAY environment variable": "display-missing",
    "TypeError: load() missing 1 required positional argument: 'Loader'": "yaml-load",
    "Boost.Python.ArgumentError: Python argument types in": "pycaffe-call",
    "AttributeError: 'Loss' object has no attribute 'param_str_'": "python-layer-param",
    "    assert (boxes[:, 2] >= boxes[:, 0]).all()": "boxes-flipped",
    "ValueError: attempt to get argmax of an empty sequence": "argmax-of-nothing",
    "IndexError: index 21 is out of bounds for axis 1 with size 21": "class-count",
    "ValueError: operands could not be broadcast together with shapes (227,) (256,)": "broadcast",
    "    @     0x7f42b753ebd4 caffe::GetPythonLayer()": "python-layer",
    "    @     0x7f0c4dbb5d53 google::protobuf::python::cdescriptor_pool::AddSerializedFile()": "protobuf-version",
    "AssertionError: Selective search data not found at: data/a.mat": "file-not-found",
    "Failed to initialize NVML: Driver/library version mismatch": "driver-updated",
    "Killed by signal 15.": "interrupted",
    "Gracefully stopping... (press Ctrl+C again to force)": "interrupted",
    "trainer_1 exited with code 143": "interrupted",
    "TERM_RUNLIMIT: job killed after reaching LSF run time limit.": "time-limit",
    "job 4711 exceeded hard wallclock time": "time-limit",
    "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.": "host-out-of-memory",
    "=>> PBS: job killed: mem 17179869184kb exceeded limit 16777216kb": "host-out-of-memory",
    "slurmstepd: error: Exceeded step memory limit at some point.": "host-out-of-memory",
    "srun: error: gpu01: task 0: Out Of Memory": "host-out-of-memory",
    "  Reason:       OOMKilled": "host-out-of-memory",
    "srun: error: gpu01: tasks 0-3: Killed": "killed",
    "trainer_1 exited with code 137": "killed",
    "[123.4] NVRM: Xid (PCI:0000:00:1e): 48, Double Bit ECC Error": "gpu-ecc",
    "trainer-1 exited with code 139": "segmentation-fault",
    "./train.sh: line 3:  4711 Aborted                 (core dumped) caffe train": "aborted",
    # containers
    'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].':
        "container-gpu",
    "docker: Error response from daemon: Unknown runtime specified nvidia.": "container-gpu",
    "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.": "container-gpu",
    "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.6, please update your driver":
        "driver-too-old",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.": "no-gpu",
    "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.": "container-daemon",
    "docker: Error response from daemon: pull access denied for caffe, repository does not exist": "container-image",
    "docker: Error response from daemon: invalid mount config: bind source path does not exist: /x": "container-mount",
    'docker: Error response from daemon: exec: "caffe": executable file not found in $PATH: unknown.':
        "program-missing",
    "exec /usr/bin/caffe: exec format error": "other-processor",
    "bash: ./caffe: cannot execute binary file: Exec format error": "other-processor",
    "bash: ./train.sh: /bin/bash^M: bad interpreter: No such file or directory": "windows-line-ends",
    "train.sh: line 2: $'\\r': command not found": "windows-line-ends",
    "box:7:9 [0] include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device":
        "nccl-shared-memory",
    "urllib2.URLError: <urlopen error [Errno -2] Name or service not known>": "network",
    # one Caffe, one Python, one of each library
    "  what():  This program requires version 3.5.0 of the Protocol Buffer runtime library, but the installed version "
    "is 2.6.1.": "protobuf-version",
    "Check failed: !IsGoogleLoggingInitialized() You called InitGoogleLogging() twice!": "glog-twice",
    "Intel MKL FATAL ERROR: Cannot load libmkl_avx2.so or libmkl_def.so.": "math-library",
    "caffe: relocation error: /usr/lib/libx.so: symbol f, version X_1 not defined in libc.so.6": "undefined-symbol",
    "[libprotobuf FATAL google/protobuf/message_lite.cc:68] CHECK failed: caffe.NetParameter was modified concurrently "
    "during serialization.": "protobuf-limit",
    "ImportError: dynamic module does not define module export function (PyInit__caffe)": "python-version",
    "Fatal Python error: PyThreadState_Get: no current thread": "python-version",
    "RuntimeError: module compiled against API version 0xa but this version of numpy is 0x9": "numpy-version",
    "ValueError: Object arrays cannot be loaded when allow_pickle=False": "numpy-pickle",
    "SyntaxError: invalid syntax": "python-syntax",
    "TypeError: a bytes-like object is required, not 'str'": "python2-code",
    "TypeError: 'map' object is not subscriptable": "python2-code",
    "AttributeError: module 'caffe' has no attribute 'Net'": "caffe-protobuf-import",
    "ImportError: No module named caffe2.python": "caffe2-missing",
    "AssertionError: Detectron ops lib not found at 'lib.so'; make sure that Caffe2 has it": "caffe2-operator",
    "AttributeError: Method AffineChannel is not a registered operator. Did you mean: []": "caffe2-operator",
    "cv2.error: OpenCV(3.4.2) color.cpp:253: error: (-215:Assertion failed) VScn::contains(scn)": "opencv",
    "OpenCV Error: Assertion failed (ssize.area() > 0) in resize, file imgwarp.cpp, line 1834": "picture-not-read",
    "ValueError: could not broadcast input array from shape (3,600) into shape (3,500)": "broadcast",
    "ValueError: could not broadcast input array from shape (98,4) into shape (50,4)": "detectnet-boxes",
    # the end, seen from outside
    "2018-05-19 17:34:03 [20180519-173401-20b7] [ERROR] Train Caffe Model task failed with error code -8":
        "division-by-zero",
    "ERROR: error code -4": "illegal-instruction",
    "ERROR: error code -7": "bus-error",
    "[ERROR] Train Caffe Model task failed with error code 127": "program-missing",
    "*** Check failure stack trace: ***": "aborted",
    "client_loop: send disconnect: Broken pipe": "connection-lost",
    "[1]    12345 killed     caffe train": "killed",
    "I1120 23:36:21.594349     6 solver.cpp:332] Optimization Done.\n*** SIGSEGV (@0x7f) received by PID 7 ***":
        "crash-at-exit",
    "[8] [proxy:1:1@node2] HYD_spawn: execvp error on file /opt/caffe (No such file or directory)": "mpi-program",
    "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES": "mpi-rank",
    "W1120 23:36:21.594349     6 solver.cpp:512] Missing true_pos for label: 4": "class-without-box",
    "ERROR: error code -11": "segmentation-fault",
    "./train.sh: line 1:  1760 Abort trap: 6           caffe train": "aborted",
    "KeyboardInterrupt": "interrupted",
    "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2018-01-01T00:00:00 DUE TO TIME LIMIT ***": "time-limit",
    "/work/run.sh: line 3:    17 Killed                  caffe train": "killed",
    "corrupted size vs. prev_size": "memory-corrupted",
    "Bus error (core dumped)": "bus-error",
    "Floating point exception (core dumped)": "division-by-zero",
    "Illegal instruction (core dumped)": "illegal-instruction",
    "*** SIGSEGV (@0x7f) received by PID 7 (TID 0x7f) from PID 18446744071562067968; stack trace: ***":
        "segmentation-fault",
    "  what():  basic_string::_M_construct null not valid": "cpp-exception",
    "Aborted (core dumped)": "aborted",
}  # fmt: skip

# what looks bad and is not, in a sound log
NOISE = [
    "COULD NOT CREATE LOGFILE '/logs/caffe.INFO.20180101-100000.1'!",
    "Could not create logging file: No such file or directory",
    "/x/sklearn/__init__.py:1: RuntimeWarning: numpy.dtype size changed, may indicate binary incompatibility",
    "nohup: ignoring input",
    "mkdir: cannot create directory 'snapshots': File exists",
    "WARNING: Logging before InitGoogleLogging() is written to STDERR",
    "[libprotobuf WARNING coded_stream.cc:505] Reading dangerously large protocol message.",
    "libdc1394 error: Failed to initialize libdc1394",
    "OpenBLAS Warning : Detect OpenMP Loop and this application may hang.",
    "Corrupt JPEG data: 18 extraneous bytes before marker 0xd9",
    "/x/site-packages/matplotlib/font_manager.py:273: UserWarning: Matplotlib is building the font cache",
    "box:7:7 [0] NCCL INFO NET/Plugin : libnccl-net.so: cannot open shared object file: No such file or directory",
    "I0301 10:00:00.000000     7 net.cpp:100] error_layer does not need backward computation.",
    "I0301 10:00:00.000000     7 net.cpp:434] Killed <- Traceback",
    "source: /data/out of memory/train_lmdb",
    "+ caffe train -solver s.prototxt",
    "real    10m3.000s",
    "Done (t=0.50s)",
]
