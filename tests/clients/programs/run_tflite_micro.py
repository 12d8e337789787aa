"""Run a file in the interpreter for microcontrollers: run_tflite_micro.py FILE INPUTS.npy OUTPUTS.npy."""

import sys
from pathlib import Path

import numpy as np
from tflite_micro import runtime

file, inputs, outputs = sys.argv[1:]
interpreter = runtime.Interpreter.from_bytes(Path(file).read_bytes(), arena_size=16 << 20)
answers = []
for image in np.load(inputs):
    interpreter.set_input(image[np.newaxis], 0)
    interpreter.invoke()
    answers.append(interpreter.get_output(0)[0])
np.save(outputs, np.stack(answers))
