"""Run a file in tflite-runtime on stored inputs: run_tflite_runtime.py FILE INPUTS.npy OUTPUTS.npy."""

import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter

file, inputs, outputs = sys.argv[1:]
interpreter = Interpreter(file)
interpreter.allocate_tensors()
(taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
answers = []
for image in np.load(inputs):
    interpreter.set_tensor(taken["index"], image[np.newaxis])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(given["index"])[0])
np.save(outputs, np.stack(answers))
