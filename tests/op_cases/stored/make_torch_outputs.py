"""Write torch_outputs.json: what PyTorch computes for some rows of the operator table.

Run it where PyTorch is installed, with the tests folder and the package on the path:
    PYTHONPATH=tests:. python tests/op_cases/stored/make_torch_outputs.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    """The same numbers as op_cases.case.normal, as (n, c, h, w) in float64."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)


def nhwc(y: torch.Tensor) -> list[object]:
    """Nested lists in (n, h, w, c)."""
    return y.permute(0, 2, 3, 1).tolist()


def fake_quantized() -> dict[str, object]:
    """Results and gradients of rounding to stored integers, one step for all numbers and one per channel."""
    numbers = np.random.default_rng(51).standard_normal((4, 3, 5)).astype(np.float32)
    slopes = torch.from_numpy(np.random.default_rng(52).standard_normal((4, 3, 5)).astype(np.float32))
    scales, zeros = torch.tensor([0.05, 0.25, 0.125]), torch.tensor([3, -1, 2], dtype=torch.int32)
    found: dict[str, object] = {}
    for name, step, zero, axis in (("tensor", scales[:1], zeros[:1], None), ("channel", scales, zeros, 1)):
        x = torch.from_numpy(numbers).requires_grad_()
        if axis is None:
            y = torch.fake_quantize_per_tensor_affine(x, float(step[0]), int(zero[0]), -8, 7)
        else:
            y = torch.fake_quantize_per_channel_affine(x, step, zero, axis, -8, 7)
        y.backward(slopes)
        learned, scale = torch.from_numpy(numbers).requires_grad_(), step.clone().requires_grad_()
        if axis is None:
            again = torch._fake_quantize_learnable_per_tensor_affine(learned, scale, zero.float(), -8, 7, 0.5)
        else:
            again = torch._fake_quantize_learnable_per_channel_affine(learned, scale, zero.float(), axis, -8, 7, 0.5)
        again.backward(slopes)
        assert torch.equal(y, again)
        assert torch.equal(x.grad, learned.grad)
        found[f"fake_quantize_{name}"] = y.tolist()
        found[f"fake_quantize_{name}_grad"] = x.grad.tolist()
        found[f"fake_quantize_{name}_scale_grad"] = scale.grad.tolist()
    return found


x = images(2, 6, 7, 3)
running = [torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)]
scale = torch.tensor([1.5, -0.5, 2.0], dtype=torch.float64)
offset = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)
normalised = F.batch_norm(x, *running, scale, offset, training=True, momentum=0.2, eps=1e-3)
outputs = {
    "torch": torch.__version__,
    "max_pool_ceil": nhwc(F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "max_pool_ceil_padded": nhwc(F.max_pool2d(x, (2, 3), 3, padding=1, ceil_mode=True)),
    "avg_pool_ceil": nhwc(F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)),
    "avg_pool_ceil_counted": nhwc(F.avg_pool2d(x, (2, 3), 3, padding=1, ceil_mode=True, count_include_pad=True)),
    "adaptive_avg_pool": nhwc(F.adaptive_avg_pool2d(x, (4, 3))),
    "adaptive_avg_pool_larger": nhwc(F.adaptive_avg_pool2d(x, (8, 7))),
    "local_response_norm": nhwc(F.local_response_norm(images(2, 3, 4, 19), 5, alpha=0.5, beta=0.75, k=2.0)),
    "local_response_norm_0.6": nhwc(F.local_response_norm(images(1, 3, 4, 8), 3, alpha=0.3, beta=0.6, k=1.0)),
    "batch_norm": [nhwc(normalised), *(r.tolist() for r in running)],
    **fake_quantized(),
}
Path(__file__).with_name("torch_outputs.json").write_text(json.dumps(outputs) + "\n", encoding="utf-8")
