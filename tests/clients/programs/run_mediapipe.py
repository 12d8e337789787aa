"""Classify photos with MediaPipe's ImageClassifier: run_mediapipe.py FILE PIXELS.npy ANSWERS.json.

The answers are, for each photo, every class as [index, name, score].
"""

import json
import sys
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

file, pixels, answers = sys.argv[1:]
options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=file), max_results=-1)
found = []
with vision.ImageClassifier.create_from_options(options) as classifier:
    for photo in np.load(pixels):
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
        (head,) = classifier.classify(image).classifications
        found.append([[one.index, one.category_name, one.score] for one in head.categories])
Path(answers).write_text(json.dumps(found), encoding="utf-8")
