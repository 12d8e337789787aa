"""Our layer names and those of keras.applications, network by network."""

from __future__ import annotations

from collections.abc import Sequence


def vgg_layers(
    convolutions: Sequence[int],
    convolution: str = "block{}_conv{}",
    dense: tuple[str, str, str] = ("fc1", "fc2", "predictions"),
) -> dict[str, str]:
    """block1_conv1, …; fc1, fc2 and predictions; or, as in the authors' files for Caffe, other names."""
    table, index = {}, 0
    for stage, count in enumerate(convolutions, 1):
        for number in range(1, count + 1):
            table[f"features.{index}"] = convolution.format(stage, number)
            index += 2
        index += 1
    return table | dict(zip(("classifier.0", "classifier.3", "head"), dense, strict=True))


def resnet_layers(blocks: Sequence[int]) -> dict[str, str]:
    """conv1_conv, conv2_block1_0_conv (the shortcut), conv2_block1_1_conv, …, each with its _bn; predictions."""
    table = {"stem.conv": "conv1_conv", "stem.norm": "conv1_bn", "head": "predictions"}
    for stage, count in enumerate(blocks, 1):
        for index in range(count):
            ours, theirs = f"stages.{stage}.{index}", f"conv{stage + 1}_block{index + 1}"
            for part in (1, 2, 3):
                table |= {f"{ours}.conv{part}": f"{theirs}_{part}_conv", f"{ours}.norm{part}": f"{theirs}_{part}_bn"}
            if index == 0:
                table |= {f"{ours}.shortcut.conv": f"{theirs}_0_conv", f"{ours}.shortcut.norm": f"{theirs}_0_bn"}
    return table


def mobilenet_v2_layers() -> dict[str, str]:
    """Conv1 and bn_Conv1, expanded_conv, block_1 … block_16, Conv_1; predictions."""
    blocks = ["expanded_conv", *(f"block_{index}" for index in range(1, 17))]
    table = {"features.0.conv": "Conv1", "features.0.norm": "bn_Conv1", "head": "predictions"}
    for index, block in enumerate(blocks, 1):
        for part in ("expand", "depthwise", "project") if index > 1 else ("depthwise", "project"):
            ours = f"features.{index}.{part}"
            table |= {f"{ours}.conv": f"{block}_{part}", f"{ours}.norm": f"{block}_{part}_BN"}
    last = f"features.{len(blocks) + 1}"
    return table | {f"{last}.conv": "Conv_1", f"{last}.norm": "Conv_1_bn"}
