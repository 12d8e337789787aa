"""The first training step of a process, with the time at which each part was done: MODEL BATCH."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Import, load, bind, step; print when."""
    name, batch = sys.argv[1], int(sys.argv[2])
    done = {"interpreter": time.time()}
    import numpy as np

    from edge_sdk import pretrained
    from edge_sdk.kernel import load_device
    from edge_sdk.training.step import training_session

    done["imports"] = time.time()
    load_device("cpu")
    done["numba and kernels"] = time.time()
    model = pretrained.load(name, weights=None, num_classes=10)
    done["network and weights"] = time.time()
    session = training_session(model, batch, learning_rate=1e-3)
    done["training step bound"] = time.time()
    feeds = {
        "image": np.zeros((batch, *model.preprocess.shape), np.float32),
        "label": np.zeros(batch, np.int32),
    }
    session.run(feeds)
    done["first step"] = time.time()
    session.run(feeds)
    done["second step"] = time.time()
    print(json.dumps(done))


if __name__ == "__main__":
    main()
