"""Make the files in keras/ with Keras itself: a small network in each of its forms, and what it computes.

python -m venv keras && keras/bin/pip install keras==3.15.1 h5py torch==2.13.0
KERAS_BACKEND=torch keras/bin/python tests/converters/files/make_keras_files.py
"""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

FOLDER = Path(__file__).parent / "keras"


def randomise(model: keras.Model, random: np.random.RandomState) -> None:
    """Weights of a trained network's magnitudes, every one of them other than where Keras starts."""
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], tuple(weight.shape)
        if name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, shape))
        elif len(shape) == 1:
            weight.assign(random.standard_normal(shape) * 0.1)
        else:
            inputs = shape[:2] if shape[-1] == 1 else shape[:-1]
            weight.assign(random.standard_normal(shape) * np.sqrt(2 / np.prod(inputs)))


def save_as_before(model: keras.Model, path: Path) -> None:
    """The form in which the weights of keras.applications are published."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def small_network() -> keras.Model:
    """A layer of each kind."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="block1_conv1")(image)
    x = keras.layers.BatchNormalization(name="bn1")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(5, name="predictions")(x))


def main() -> None:
    """Write the network in all forms, its weights and what it computes."""
    FOLDER.mkdir(exist_ok=True)
    random = np.random.RandomState(11)
    small = small_network()
    randomise(small, random)
    small.save(FOLDER / "small.keras")
    small.save(FOLDER / "small.h5")
    small.save_weights(FOLDER / "small.weights.h5")
    save_as_before(small, FOLDER / "small_weights.h5")
    arrays = {weight.path: np.asarray(weight.value.detach()) for weight in small.weights}
    x = random.standard_normal((2, 16, 16, 3)).astype(np.float32)
    np.savez_compressed(FOLDER / "outputs.npz", x=x, y=small.predict(x, verbose=0), **arrays)


if __name__ == "__main__":
    main()
