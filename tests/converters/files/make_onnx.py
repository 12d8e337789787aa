"""Write the ONNX files of this folder with torch.onnx and onnxruntime, and their outputs by onnxruntime.

Run where torch 2.13, onnxscript and onnxruntime are installed: python make_onnx.py
The files: four small networks by both of PyTorch's exporters in several opsets, and one of them in 8 bits (QDQ).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

FOLDER = Path(__file__).parent
SHAPE = (2, 3, 32, 40)


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        return x * nn.functional.hardsigmoid(self.up(nn.functional.relu(self.down(self.pool(x)))))


class Mobile(nn.Module):
    """Depthwise convolutions, squeeze and excitation, hard-swish, a residual."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.Hardswish())
        self.block = nn.Sequential(
            nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6(),
            nn.Conv2d(24, 24, 5, 1, 2, groups=24, bias=False), nn.BatchNorm2d(24), Excite(24), nn.Hardswish(),
            nn.Conv2d(24, 12, 1, bias=False), nn.BatchNorm2d(12),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 7))

    def forward(self, x):
        x = self.stem(x)
        x = x + self.block(x)
        return self.head(x.mean([2, 3]))


class Plain(nn.Module):
    """Images flattened into a dense layer, pools that round up, a PReLU, padding of one side."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 5, 2), nn.PReLU(8), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(8, 12, 3, padding=1, groups=2), nn.LeakyReLU(0.1), nn.AvgPool2d(2, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(), nn.Linear(12 * 3 * 4, 16), nn.ReLU(), nn.Linear(16, 7)
        )

    def forward(self, x):
        return torch.softmax(self.classifier(self.features(x)), 1)


class Residual(nn.Module):
    """A residual network of two blocks, the second with half of the pixels."""

    def __init__(self):
        super().__init__()

        def unit(inputs, outputs, kernel, stride):
            conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs))

        self.stem = nn.Sequential(unit(3, 8, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.first = nn.Sequential(unit(8, 8, 3, 1), nn.ReLU(), unit(8, 8, 3, 1))
        self.second = nn.Sequential(unit(8, 16, 3, 2), nn.ReLU(), unit(16, 16, 3, 1))
        self.down = unit(8, 16, 1, 2)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 7)

    def forward(self, x):
        x = self.stem(x)
        x = nn.functional.relu(x + self.first(x))
        x = nn.functional.relu(self.down(x) + self.second(x))
        return self.fc(torch.flatten(self.pool(x), 1))


class Shuffle(nn.Module):
    """Halves of the channels apart, joined and shuffled; pixels enlarged and joined."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.ELU())
        self.small = nn.Conv2d(16, 6, 3, 2, 1)
        self.norm = nn.GroupNorm(2, 22)
        self.last = nn.Conv2d(22, 7, 1)

    def forward(self, x):
        x = self.stem(x)
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        low = nn.functional.interpolate(self.small(x), scale_factor=2, mode="bilinear")
        x = self.norm(torch.cat([x, low], 1))
        return nn.functional.adaptive_avg_pool2d(self.last(torch.nn.functional.gelu(x)), 1).flatten(1)


def images():
    """The input by a formula, so that it need not be stored."""
    count = int(np.prod(SHAPE))
    return (
        np.sin(np.arange(count, dtype=np.float64) * 0.37 + np.arange(count) ** 2 * 1e-4)
        .astype(np.float32)
        .reshape(SHAPE)
    )


def network(make):
    """A network with seeded weights and running statistics, in inference form."""
    torch.manual_seed(5)
    made = make()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return made.eval()


def export(make, opset, dynamo):
    """One file by one of the exporters; returns its name."""
    name = f"{make.__name__.lower()}-{'dynamo' if dynamo else 'script'}-{opset}.onnx"
    path, example = FOLDER / name, torch.from_numpy(images())
    if dynamo:
        batch = torch.export.Dim("n")
        torch.onnx.export(
            network(make), (example,), path, opset_version=opset, dynamo=True, dynamic_shapes=({0: batch},),
            external_data=False, input_names=["input"], output_names=["scores"],
        )  # fmt: skip
    else:
        torch.onnx.export(
            network(make), (example,), path, opset_version=opset, dynamo=False, input_names=["input"],
            output_names=["scores"], dynamic_axes={"input": {0: "n"}, "scores": {0: "n"}},
        )  # fmt: skip
    model = onnx.load(path)
    for node in model.graph.node:  # where this machine keeps its files is nobody's business
        node.doc_string = ""
        del node.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    for info in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del info.metadata_props[:]
    onnx.save(model, path)
    return name


class Calibration(CalibrationDataReader):
    """The images, one after the other."""

    def __init__(self):
        self.rest = iter([{"input": image[None]} for image in images()])

    def get_next(self):
        return next(self.rest, None)


def quantize(name):
    """The file in 8 bits, with QuantizeLinear and DequantizeLinear around every operator."""
    target = name.replace(".onnx", "-qdq.onnx")
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        onnxruntime.quantization.shape_inference.quant_pre_process(str(FOLDER / name), str(prepared))
        quantize_static(
            str(prepared), str(FOLDER / target), Calibration(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    return target


def main():
    names = [
        export(make, opset, dynamo)
        for make in (Mobile, Plain, Residual, Shuffle)
        for opset, dynamo in ((13, False), (17, False), (18, True), (21, True))
    ]
    names.append(quantize("plain-script-13.onnx"))
    outputs = {}
    for name in names:
        session = onnxruntime.InferenceSession(FOLDER / name, providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {"input": images()})
        outputs[name] = [[float(number) for number in row] for row in scores]
    text = json.dumps({"shape": SHAPE, "torch": torch.__version__, "outputs": outputs}, indent=1)
    (FOLDER / "onnx_outputs.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
