"""What the processes of a test must find out when they exchange numbers."""

from __future__ import annotations

import numpy as np
from parallel_runs import numbers

from edge_sdk.halves import from_bfloat16, to_bfloat16


def check(found, size):
    """Compare what `exchanged` returned with the sums that NumPy makes of all processes' numbers."""
    everyone = [numbers(rank) for rank in range(size)]
    total = sum(everyone[1:], everyone[0])
    few = sum(from_bfloat16(to_bfloat16(numbers(rank, 5))) for rank in range(size)) / np.float32(size)

    assert found["size"] == size
    np.testing.assert_array_max_ulp(found["total"], total, 2)
    np.testing.assert_allclose(found["mean"], total / size, rtol=1e-6, atol=1e-7)
    assert found["counts"].tolist() == [[sum(range(size)), size]]
    assert found["bits"].tolist() == to_bfloat16(few.astype(np.float32)).tolist()
    assert found["chosen"].tolist() == [size - 1] * 3
    assert len(np.unique(found["everywhere"], axis=0)) == 1, "processes disagree"
