"""Make the files in caffe/ with Caffe itself: definitions, weights that it wrote, and what it computes with them.

Caffe has no current package; the wheel of a fork whose layers are those of BVLC's Caffe 1.0 runs under Python 3.9:

    python3.9 -m venv caffe && caffe/bin/pip install kendryte-caffe==1.0.0.20210829 "numpy<1.24" "protobuf<3.21"
    GLOG_minloglevel=2 caffe/bin/python tests/converters/files/make_caffe_models.py
"""

from __future__ import annotations

from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

FOLDER = Path(__file__).parent / "caffe"


def input_layer(c: int, h: int, w: int) -> str:
    """The photos, two at a time."""
    shape = f"dim: 2 dim: {c} dim: {h} dim: {w}"
    return layer("data", "Input", "", "data", f"input_param {{ shape: {{ {shape} }} }}")


def layer(name: str, kind: str, bottoms: str, tops: str, parameters: str = "") -> str:
    """A layer of the present form; blobs are separated by spaces."""
    reads = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    makes = " ".join(f'top: "{blob}"' for blob in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads} {makes} {parameters} }}'


def conv(name: str, bottom: str, parameters: str, kind: str = "Convolution") -> str:
    """A convolution with random weights and biases."""
    bias = "" if "bias_term: false" in parameters else 'bias_filler { type: "gaussian" std: 0.3 }'
    fillers = f'weight_filler {{ type: "xavier" }} {bias}'
    return layer(name, kind, bottom, name, f"convolution_param {{ {parameters} {fillers} }}")


def dense(name: str, bottom: str, outputs: int, more: str = "") -> str:
    """A dense layer with random weights and biases."""
    fillers = 'weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.3 }'
    return layer(
        name, "InnerProduct", bottom, name, f"inner_product_param {{ num_output: {outputs} {more} {fillers} }}"
    )


def pool(name: str, bottom: str, parameters: str) -> str:
    """A pool."""
    return layer(name, "Pooling", bottom, name, f"pooling_param {{ {parameters} }}")


def normalised(name: str, bottom: str, top: str) -> list[str]:
    """BatchNorm and Scale, in place behind each other."""
    return [
        layer(f"bn_{name}", "BatchNorm", bottom, top, "batch_norm_param { eps: 1e-4 }"),
        layer(
            f"scale_{name}",
            "Scale",
            top,
            top,
            'scale_param { bias_term: true filler { type: "gaussian" mean: 1 std: 0.3 } }',
        ),
    ]


def eltwise(name: str, bottoms: str, parameters: str = "") -> str:
    """A sum, product or maximum."""
    return layer(name, "Eltwise", bottoms, name, f"eltwise_param {{ {parameters} }}" if parameters else "")


def power(name: str, bottom: str, parameters: str) -> str:
    """A power."""
    return layer(name, "Power", bottom, name, f"power_param {{ {parameters} }}")


NETWORKS = {
    "alexnet": [
        input_layer(3, 23, 21),
        conv("conv1", "data", "num_output: 8 kernel_size: 5 stride: 2 pad: 1"),
        layer("relu1", "ReLU", "conv1", "conv1"),
        layer("norm1", "LRN", "conv1", "norm1", "lrn_param { local_size: 5 alpha: 0.3 beta: 0.75 k: 2 }"),
        pool("pool1", "norm1", "pool: MAX kernel_size: 3 stride: 2"),
        conv(
            "conv2", "pool1", "num_output: 6 kernel_h: 3 kernel_w: 1 pad_h: 2 pad_w: 0 group: 2 dilation: 2 dilation: 1"
        ),
        layer("relu2", "ReLU", "conv2", "conv2", "relu_param { negative_slope: 0.1 }"),
        dense("fc6", "conv2", 12),
        layer("drop6", "Dropout", "fc6", "fc6", "dropout_param { dropout_ratio: 0.4 }"),
        dense("fc8", "fc6", 5),
        layer("prob", "Softmax", "fc8", "prob"),
    ],
    "pools": [
        input_layer(3, 11, 14),
        pool("a", "data", "pool: AVE kernel_size: 3 stride: 2 pad: 1"),
        pool("b", "data", "pool: MAX kernel_size: 3 stride: 2 pad: 1"),
        pool("c", "data", "pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 2 pad_h: 1 pad_w: 1"),
        pool("d", "data", "pool: MAX kernel_size: 2 stride: 2"),
        pool("e", "data", "pool: AVE global_pooling: true"),
        layer(
            "within", "LRN", "data", "f", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 norm_region: WITHIN_CHANNEL }"
        ),
        *(layer(f"flat_{x}", "Flatten", x, f"flat_{x}") for x in "abcdef"),
        layer("all", "Concat", " ".join(f"flat_{x}" for x in "abcdef"), "all"),
        dense("score", "all", 7),
    ],
    "residual": [
        input_layer(3, 16, 16),
        conv("conv1", "data", "num_output: 6 kernel_size: 3 stride: 2 pad: 1 bias_term: false"),
        *normalised("conv1", "conv1", "conv1"),
        layer("conv1_relu", "ReLU", "conv1", "conv1"),
        conv("res2a_branch1", "conv1", "num_output: 8 kernel_size: 1 bias_term: false"),
        *normalised("2a_branch1", "res2a_branch1", "res2a_branch1"),
        conv("res2a_branch2a", "conv1", "num_output: 8 kernel_size: 3 pad: 1"),
        *normalised("2a_branch2a", "res2a_branch2a", "res2a_branch2a_n"),
        eltwise("res2a", "res2a_branch1 res2a_branch2a_n"),
        layer("res2a_relu", "ReLU", "res2a", "res2a"),
        layer("lone_bn", "BatchNorm", "res2a", "lone_bn"),
        eltwise("weighted", "res2a lone_bn", "operation: SUM coeff: 0.5 coeff: -2"),
        layer(
            "lone_scale",
            "Scale",
            "weighted",
            "lone_scale",
            'scale_param { filler { type: "gaussian" mean: 1 std: 0.3 } }',
        ),
        pool("pool5", "lone_scale", "pool: AVE kernel_size: 8 stride: 1"),
        dense("fc1000", "pool5", 9),
        layer("prob", "Softmax", "fc1000", "prob"),
    ],
    "inception": [
        input_layer(3, 9, 10),
        conv("stem", "data", "num_output: 8 kernel_size: 3 pad: 1"),
        layer("cut", "Slice", "stem", "s1 s2 s3", "slice_param { slice_point: 2 slice_point: 5 }"),
        layer("halves", "Slice", "data", "h1 h2", "slice_param { axis: 3 }"),
        layer("twice", "Split", "s2", "t1 t2"),
        conv("left", "t1", "num_output: 4 kernel_size: 1"),
        pool("right", "t2", "pool: MAX kernel_size: 3 stride: 1 pad: 1"),
        layer("joined", "Concat", "s1 left right s3", "joined", "concat_param { axis: 1 }"),
        layer("beside", "Concat", "h2 h1", "beside", "concat_param { axis: -1 }"),
        conv("other", "beside", "num_output: 12 kernel_size: 3 pad: 1"),
        eltwise("product", "joined other", "operation: PROD"),
        eltwise("largest", "product joined other", "operation: MAX"),
        dense("classifier/fc", "largest", 6),
    ],
    "upsampling": [
        input_layer(3, 7, 8),
        conv("down", "data", "num_output: 6 kernel_size: 3 stride: 2 pad: 1"),
        conv("up", "down", "num_output: 4 kernel_size: 4 stride: 2 pad: 1", "Deconvolution"),
        conv("up_each", "down", "num_output: 6 group: 6 kernel_size: 3 stride: 3 bias_term: false", "Deconvolution"),
        conv(
            "up_groups", "down", "num_output: 4 group: 2 kernel_h: 2 kernel_w: 3 stride: 2 dilation: 2", "Deconvolution"
        ),
        layer("crop", "Crop", "up_each down", "crop", "crop_param { axis: 2 offset: 2 offset: 1 }"),
        dense("a", "up", 5),
        dense("b", "up_groups", 5),
        dense("c", "crop", 5),
        eltwise("sum", "a b c"),
    ],
    "pointwise": [
        input_layer(3, 6, 5),
        conv("x", "data", "num_output: 5 kernel_size: 1"),
        layer("sigmoid", "Sigmoid", "x", "sigmoid"),
        layer("tanh", "TanH", "x", "tanh"),
        layer("elu", "ELU", "x", "elu", "elu_param { alpha: 0.7 }"),
        layer("absolute", "AbsVal", "x", "absolute"),
        layer("bnll", "BNLL", "x", "bnll"),
        layer("exp", "Exp", "x", "exp", "exp_param { base: 2 scale: 0.5 shift: 0.25 }"),
        layer("log", "Log", "absolute", "log", "log_param { base: 10 scale: 2 shift: 1.5 }"),
        layer("prelu", "PReLU", "x", "prelu", 'prelu_param { filler { type: "gaussian" std: 0.5 } }'),
        layer("prelu1", "PReLU", "x", "prelu1", "prelu_param { channel_shared: true filler { value: 0.3 } }"),
        layer("bias", "Bias", "x", "bias", 'bias_param { filler { type: "gaussian" std: 0.5 } }'),
        layer("swish", "Swish", "x", "swish", "swish_param { beta: 1.5 }"),
        power("affine", "x", "scale: -0.5 shift: 0.25"),
        power("square", "x", "power: 2 scale: 0.5"),
        power("cube", "x", "power: 3"),
        power("root", "absolute", "power: 0.5 shift: 0.5"),
        power("fraction", "absolute", "power: -0.6 shift: 0.5 scale: 2"),
        power("one", "x", "power: 0"),
        layer(
            "all",
            "Concat",
            "sigmoid tanh elu absolute bnll exp log prelu prelu1 bias swish affine square cube root fraction one",
            "all",
        ),
        layer("over_channels", "Softmax", "x", "over_channels"),
        layer("more", "Concat", "all over_channels", "more"),
        dense("score", "more", 6),
    ],
    "squeeze_excitation": [
        input_layer(3, 10, 10),
        conv("x", "data", "num_output: 8 kernel_size: 3"),
        pool("squeeze", "x", "pool: AVE global_pooling: true"),
        conv("down", "squeeze", "num_output: 2 kernel_size: 1"),
        layer("relu", "ReLU", "down", "down"),
        dense("up", "down", 8),
        layer("gate", "Sigmoid", "up", "gate"),
        layer("excite", "Scale", "x gate", "excite", "scale_param { axis: 0 }"),
        pool("pool", "excite", "pool: AVE global_pooling: true"),
        layer("flat", "Flatten", "pool", "flat"),
        layer("norm", "BatchNorm", "flat", "norm"),
        dense("score", "norm", 4, "transpose: true bias_term: true"),
    ],
    "reshapes": [
        input_layer(3, 4, 5),
        conv("x", "data", "num_output: 6 kernel_size: 1"),
        layer("planes", "Reshape", "x", "planes", "reshape_param { shape { dim: 0 dim: 12 dim: 2 dim: -1 } }"),
        conv("mixed", "planes", "num_output: 4 kernel_size: 2"),
        layer("rows", "Reshape", "mixed", "rows", "reshape_param { shape { dim: 0 dim: -1 } }"),
        layer("cells", "Reshape", "rows", "cells", "reshape_param { shape { dim: -1 dim: 1 dim: 1 } axis: 1 }"),
        conv("dense_conv", "cells", "num_output: 7 kernel_size: 1"),
        layer("tail", "Reshape", "x", "tail", "reshape_param { shape { dim: -1 } axis: 2 num_axes: 2 }"),
        layer("flat", "Flatten", "tail", "flat"),
        dense("scores", "flat", 7),
        layer("scored", "Reshape", "dense_conv", "scored", "reshape_param { shape { dim: 2 dim: 7 } }"),
        eltwise("sum", "scores scored"),
    ],
    "mobilenet": [
        input_layer(3, 12, 12),
        conv("conv1", "data", "num_output: 8 kernel_size: 3 stride: 2 pad: 1 bias_term: false"),
        *normalised("conv1", "conv1", "conv1"),
        layer("relu1", "ReLU", "conv1", "conv1"),
        conv("conv2_1/dw", "conv1", "num_output: 8 group: 8 kernel_size: 3 pad: 1 bias_term: false"),
        *normalised("conv2_1/dw", "conv2_1/dw", "conv2_1/dw"),
        conv("conv2_1/multiplied", "conv2_1/dw", "num_output: 16 group: 8 kernel_size: 3 pad: 1"),
        conv("conv2_1/sep", "conv2_1/multiplied", "num_output: 12 kernel_size: 1"),
        pool("pool6", "conv2_1/sep", "pool: AVE global_pooling: true"),
        conv("fc7", "pool6", "num_output: 5 kernel_size: 1"),
    ],
}

V1 = """
name: "v1"
input: "data"
input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2 convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.3 } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "norm1" type: LRN bottom: "conv1" top: "norm1" lrn_param { local_size: 3 alpha: 0.5 } }
layers { name: "pool1" type: POOLING bottom: "norm1" top: "pool1" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { name: "flat" type: FLATTEN bottom: "pool1" top: "flat" }
layers { name: "fc8" type: INNER_PRODUCT bottom: "flat" top: "fc8"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.3 } } }
layers { name: "prob" type: SOFTMAX bottom: "fc8" top: "prob" }
"""


def random_statistics(net: caffe.Net) -> None:
    """Means, variances and factors for the batch norms, which Caffe starts with zeros."""
    random = np.random.RandomState(5)
    for name, blobs in net.params.items():
        if net.layers[list(net._layer_names).index(name)].type == "BatchNorm":
            blobs[2].data[...] = 3.5
            blobs[0].data[...] = random.randn(*blobs[0].data.shape) * 3.5 * 0.3
            blobs[1].data[...] = random.uniform(0.3, 2, blobs[1].data.shape) * 3.5


def as_v1(definition: Path, modern: Path, old: Path) -> None:
    """Write weights in the form of Caffe of 2014: `layers` with numbers for types, shapes of four axes."""
    net, source, target = caffe_pb2.NetParameter(), caffe_pb2.NetParameter(), caffe_pb2.NetParameter()
    text_format.Merge(definition.read_text(), net)
    source.ParseFromString(modern.read_bytes())
    stored = {each.name: each.blobs for each in source.layer}
    target.name = "v1"
    for described in net.layers:
        made = target.layers.add()
        made.name, made.type = described.name, described.type
        for blob in stored.get(described.name, ()):
            copy = made.blobs.add()
            shape = (1,) * (4 - len(blob.shape.dim)) + tuple(blob.shape.dim)
            copy.num, copy.channels, copy.height, copy.width = shape
            copy.data.extend(blob.data)
    old.write_bytes(target.SerializeToString())


def main() -> None:
    """Write every network, its weights, and inputs with the outputs of its last layers."""
    caffe.set_mode_cpu()
    caffe.set_random_seed(17)
    FOLDER.mkdir(exist_ok=True)
    random = np.random.RandomState(3)
    arrays = {}
    texts = {name: f'name: "{name}"\n' + "\n".join(layers) + "\n" for name, layers in NETWORKS.items()}
    for name, text in {**texts, "v1": V1}.items():
        definition, weights = FOLDER / f"{name}.prototxt", FOLDER / f"{name}.caffemodel"
        definition.write_text(text)
        net = caffe.Net(str(definition), caffe.TEST)
        random_statistics(net)
        net.save(str(weights))
        if name == "v1":
            as_v1(definition, weights, weights)
            net = caffe.Net(str(definition), str(weights), caffe.TEST)
        x = random.randn(*net.blobs["data"].data.shape).astype(np.float32)
        net.blobs["data"].data[...] = x
        last = list(net.forward())
        if len(last) != 1:
            raise ValueError(f"{name} has several outputs: {last}")
        # Scores before the softmax are what a Model gives.
        scores = {"prob": {"alexnet": "fc8", "residual": "fc1000", "v1": "fc8"}.get(name)}.get(last[0], last[0])
        arrays[f"{name}.x"], arrays[f"{name}.y"] = x, net.blobs[scores].data.copy().reshape(2, -1)

    mean = random.uniform(90, 130, (3, 6, 5)).astype(np.float32)
    (FOLDER / "mean.binaryproto").write_bytes(caffe.io.array_to_blobproto(mean[None]).SerializeToString())
    np.savez_compressed(FOLDER / "outputs.npz", mean=mean, **arrays)


if __name__ == "__main__":
    main()
