"""Classify photos with the TFLite Task Library's ImageClassifier: run_task_library.py FILE PIXELS.npy ANSWERS.json.

The answers are, for each photo, every class as [index, name, score].
"""

import json
import sys
from pathlib import Path

import numpy as np
from tflite_support.task import core, processor, vision

file, pixels, answers = sys.argv[1:]
# Without a threshold it leaves out what scores below 0, which half of the logits do.
options = vision.ImageClassifierOptions(
    core.BaseOptions(file_name=file), processor.ClassificationOptions(score_threshold=-1e30)
)
classifier = vision.ImageClassifier.create_from_options(options)
found = []
for photo in np.load(pixels):
    (head,) = classifier.classify(vision.TensorImage.create_from_array(photo)).classifications
    found.append([[one.index, one.category_name, one.score] for one in head.categories])
Path(answers).write_text(json.dumps(found), encoding="utf-8")
