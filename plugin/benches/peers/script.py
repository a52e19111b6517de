"""What one would write without the element: OpenCV decodes and finds faces, ONNX Runtime scores them.

script.py VIDEO DETECTOR.onnx SCORER.onnx SIDE MARGIN SHIFT_Y MEAN STD CONFIDENCE LOOPS THREADS, where 0 threads are what the libraries
take by themselves, prints JSON of the loops but the first, which warms up: frames, faces, CPU-seconds and seconds of the loop,
and the milliseconds a face of 350 pixels takes from a frame of 1920x1080 in NV12 to a tensor of 224x224."""

import json
import math
import resource
import sys
import time

import cv2
import numpy as np
import onnxruntime

video, detector_path, scorer_path = sys.argv[1:4]
side, loops, threads = (int(sys.argv[i]) for i in (4, 10, 11))
margin, shift_y, mean, std, confidence = map(float, sys.argv[5:10])
if threads:
    cv2.setNumThreads(threads)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
scorer = onnxruntime.InferenceSession(scorer_path, options, providers=["CPUExecutionProvider"])
name = scorer.get_inputs()[0].name
detector = cv2.FaceDetectorYN.create(detector_path, "", (320, 320), confidence, 0.3, 500)


def crop(picture, box):
    x, y, w, h = box
    edge = max(w, h) * (1 + 2 * margin)
    left, top = round(x + w / 2 - edge / 2), round(y + h / 2 + shift_y * max(w, h) - edge / 2)
    edge = max(round(edge), 1)
    height, width = picture.shape[:2]
    pads = max(-top, 0), max(top + edge - height, 0), max(-left, 0), max(left + edge - width, 0)
    part = picture[max(top, 0) : top + edge, max(left, 0) : left + edge]
    if any(pads):
        part = cv2.copyMakeBorder(part, *pads, cv2.BORDER_REPLICATE)
    return part


def tensor(part, size):
    small = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
    return ((small[:, :, ::-1].astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)


def faces_of(picture):
    height, width = picture.shape[:2]
    scale = min(1.0, 640 / max(height, width))
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    bottom, right = -small.shape[0] % 32, -small.shape[1] % 32
    small = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    detector.setInputSize((small.shape[1], small.shape[0]))
    found = detector.detect(small)[1]
    return [] if found is None else [f[:4] / scale for f in found]


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


frames = faces = 0
for loop in range(loops + 1):
    if loop == 1:
        frames = faces = 0
        cpu, start = used(), time.perf_counter()
    stream = cv2.VideoCapture(video)
    while True:
        ok, picture = stream.read()
        if not ok:
            break
        frames += 1
        boxes = [box for box in faces_of(picture) if min(box[2:]) >= 48]
        if boxes:
            batch = np.stack([tensor(crop(picture, box), side) for box in boxes])
            scorer.run(None, {name: np.ascontiguousarray(batch)})
            faces += len(boxes)
cpu, seconds = used() - cpu, time.perf_counter() - start

# One face out of a large frame: the way over a picture of RGB, since OpenCV cannot cut NV12.
planes = (np.arange(1920 * 1080 * 3 // 2) % 251).astype(np.uint8).reshape(1080 * 3 // 2, 1920)
times = []
for _ in range(40):
    begin = time.perf_counter()
    picture = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_NV12)
    whole = time.perf_counter()
    np.ascontiguousarray(tensor(picture[300:650, 700:1050], 224))
    end = time.perf_counter()
    times.append((end - begin, end - whole))
middle = [sorted(t)[len(t) // 2] * 1e3 for t in zip(*times)]
json.dump(
    {"frames": frames, "faces": faces, "cpu": cpu, "seconds": seconds, "nv12_ms": middle[0], "crop_ms": middle[1]}, sys.stdout
)
