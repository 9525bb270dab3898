"""Which forks of Caffe have which types of layers, and which of them a net is written for.

A fork is known by what BVLC's Caffe lacks: the types of its layers, and fields of its own. Taken from the layers that
each registers and from its caffe.proto, at the commits that docs/nets.md lists.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from provision.net import upgrade
from provision.net.text import Message


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BVLC = _words(
    "AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss Convolution Crop Data "
    "Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss "
    "Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM LSTMUnit Log MVN MemoryData MultinomialLogisticLoss "
    "PReLU Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss "
    "Silence Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData"
)


@dataclass(frozen=True)
class Fork:
    """A fork, or a set of files for one's own Caffe. `name` is what people call it, `source` its repository, `stack`
    ours that has it (or empty); `types` and `fields` are those that BVLC's Caffe lacks."""

    name: str
    source: str
    stack: str
    types: frozenset[str]
    fields: frozenset[str] = frozenset()


def _fork(name: str, source: str, types: str, fields: str = "", stack: str = "") -> Fork:
    return Fork(name, source, stack, _words(types), _words(fields))


_SSD = "AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox SmoothL1Loss VideoData"
_DEEPLAB = (
    "AdaptiveBiasChannel BiasChannel DenseCRF DomainTransform DomainTransformForwardOnly ImageSegData Interp MatRead "
    "MatWrite SegAccuracy SpatialProduct UniqueLabel"
)

# of forks that explain a net alike the first is named
FORKS: tuple[Fork, ...] = (
    _fork(
        "SSD",
        "weiliu89/caffe",
        _SSD,
        "annotated_data_param batch_sampler detection_evaluate_param detection_output_param distort_param "
        "emit_constraint expand_param multibox_loss_param norm_param permute_param prior_box_param resize_param",
        "caffe-ssd",
    ),
    _fork(
        "CRF-as-RNN",
        "torrvision/caffe",
        "MultiStageMeanfield",
        "multi_stage_meanfield_param",
        "caffe-crfrnn",
    ),
    _fork(
        "SegNet",
        "alexgkendall/caffe-segnet",
        "BN DenseImageData Upsample",
        "bn_mode dense_image_data_param shift_filler upsample_h upsample_param upsample_w",
    ),
    _fork(
        "ENet",
        "TimoSaemann/caffe-enet",
        "BN DenseImageData Upsample",
        "bn_mode upsample_param",
    ),
    _fork(
        "PSPNet",
        "hszhao/PSPNet",
        _DEEPLAB + " BN",
        "frozen interp_param seg_accuracy_param slope_filler",
    ),
    _fork(
        "DeepLab",
        "xmyqsh/deeplab-v2",
        _DEEPLAB,
        "hole hole_h hole_w interp_param label_type seg_accuracy_param",
    ),
    _fork(
        "Fast R-CNN",
        "rbgirshick/caffe-fast-rcnn",
        "ROIPooling SmoothL1Loss",
        "roi_pooling_param smooth_l1_loss_param",
    ),
    _fork(
        "R-FCN",
        "daijifeng001/caffe-rfcn",
        "BoxAnnotatorOHEM PSROIPooling ROIPooling SmoothL1Loss SmoothL1LossOHEM SoftmaxWithLossOHEM",
        "box_annotator_ohem_param psroi_pooling_param roi_pooling_param",
    ),
    _fork(
        "SENet",
        "hujie-frank/SENet",
        "Axpy",
    ),
    _fork(
        "DepthwiseConvolution",
        "yonghenglh6/DepthwiseConvolution",
        "DepthwiseConvolution",
    ),
    _fork(
        "ShuffleNet",
        "farmingyard/ShuffleNet",
        "ShuffleChannel",
        "shuffle_channel_param",
    ),
    _fork(
        "NVIDIA's Caffe",
        "NVIDIA/caffe",
        _SSD + " Axpy DetectNetTransformation L1Loss TRT",
        "backward_math backward_type default_backward_type default_forward_type detectnet_augmentation_param "
        "detectnet_groundtruth_param forward_math forward_type scale_bias torch_pooling",
    ),
    _fork(
        "Intel's Caffe",
        "intel/caffe",
        _SSD + " "
        "Axpy BoxAnnotatorOHEM BoxData EvalDetection MKLBatchNorm MnActivation PSROIPooling ROIPooling RegionLoss "
        "Reorg SmoothL1LossOHEM SoftmaxWithLossOHEM SpatialDropout",
        "bn_stats_batch_size box_data_param eval_detection_param fusion_type stats_batch_size use_weight_bias",
    ),
    _fork(
        "MobileNet-YOLO",
        "eric612/MobileNet-YOLO",
        _SSD + " "
        "AssistedExcitation Axpy DepthwiseConvolution GaussianYolov3 LaneData ReLU6 RegionLoss Reorg "
        "SegmentationEvaluate Upsample YoloDetectionOutput YoloSeg Yolov3 Yolov3DetectionOutput",
        "reorg_param yolov3_detection_output_param yolov3_param",
    ),
    _fork(
        "FlowNet 2",
        "lmb-freiburg/flownet2",
        "Accum BlackAugmentation ChannelNorm Correlation Correlation1D CustomData DataAugmentation DisparityData "
        "Downsample FLOWriter FloatReader FloatWriter FlowAugmentation FlowWarp GenerateAugmentationParameters "
        "ImgReader ImgWriter L1Loss LpqLoss Mean NegReLU PFMWriter Resample",
        "augmentation_param coeff_schedule_param correlation_param resample_param",
    ),
    _fork(
        "DeconvNet",
        "HyeonwooNoh/caffe",
        "BN EltwiseAccuracy ImageSegData SelectSegBinary Unpooling WindowClsData WindowInstSegData WindowSegBinary "
        "WindowSegData",
        "bn_mode shift_filler unpooling_param",
    ),
    _fork(
        "Deformable ConvNets",
        "unsky/Deformable-ConvNets-caffe",
        "DeformableConvolution ROIPooling SmoothL1Loss",
        "deformable_convolution_param",
    ),
    _fork(
        "TSN",
        "yjxiong/caffe",
        "BN BatchReduction Gather Normalize ROIPooling Scatter SegData SmoothL1Loss SyncBN VideoData",
        "slope_filler video_data_param",
    ),
    _fork("PVANet", "sanghoon/caffe", "Proposal ROIPooling SmoothL1Loss", "proposal_param roi_pooling_param"),
    _fork("video-caffe", "chuckcho/video-caffe", "NdConvolution NdPooling VideoData", "kernel_shape stride_shape"),
    _fork(
        "caffe-windows",
        "happynear/caffe-windows",
        "Arccos Axpy BN CenterLoss ChannelScale Cosine Flip FocalLoss Gram InnerDistance LabelSpecificAdd "
        "LargeMarginInnerProduct Local MarginInnerProduct Normalize PSROIPooling Permute Proposal ROIPooling Resize "
        "SmoothL1Loss TripletLoss",
    ),
    _fork(
        "OpenPose",
        "CMU-Perceptual-Computing-Lab/caffe_train",
        "CPMData",
        "cpm_transform_param",
    ),
    _fork(
        "HED",
        "s9xie/hed",
        "ImageLabelmapData",
        "image_labelmap_data_param",
    ),
)


def with_type(kind: str) -> tuple[Fork, ...]:
    """The forks that have such layers; none for BVLC's own types and for unknown ones."""
    return tuple(fork for fork in FORKS if kind in fork.types)


def with_field(name: str) -> tuple[Fork, ...]:
    """The forks that have such a field."""
    return tuple(fork for fork in FORKS if name in fork.fields)


def of_net(net: Message) -> list[Fork]:
    """The fewest forks that explain the net's foreign types and fields, the one that explains most first; none for a
    net that BVLC's Caffe reads, and for one whose words nobody here knows."""
    known: frozenset[str] = frozenset().union(*(fork.types | fork.fields for fork in FORKS))
    types = {layer.text("type") for layer, _ in upgrade.layers(net)} - BVLC
    left = (types | set(_fields(net))) & known
    found: list[Fork] = []
    while left:
        best = max(FORKS, key=lambda fork: len(left & (fork.types | fork.fields)))
        found.append(best)
        left -= best.types | best.fields
    return found


def told(kind: str) -> str:
    """A type of layers that has no rule of shapes here, with the forks that have it."""
    known = with_type(kind)
    if kind in BVLC:
        return "what it makes depends on its data"
    if not known:
        return "no fork of Caffe known here has such a layer, so its shape and parameters are unknown"
    return f"a layer of {' and '.join(fork.name for fork in known[:3])}, whose shape and parameters are unknown here"


def _fields(message: Message) -> Iterator[str]:
    for field in message.fields:
        yield field.name
        if isinstance(field.value, Message):
            yield from _fields(field.value)
