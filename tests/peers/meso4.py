"""The probabilities that a model gives for crops, by ONNX Runtime's own Python interface and nothing else:
meso4.py MODEL CROPS, where CROPS holds 32-bit floats of the model's input shape one after the other."""

import json
import sys

import numpy
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape[1:]
crops = numpy.fromfile(sys.argv[2], dtype="<f4").reshape(-1, *shape)
outputs = session.run(None, {session.get_inputs()[0].name: crops})
json.dump([float(v) for v in outputs[0].reshape(len(crops), -1)[:, 0]], sys.stdout)
