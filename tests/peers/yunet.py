"""Counts the frames of a video with OpenCV and tells in which of every STEP-th YuNet, run by OpenCV at the frame's own
size, finds a face: yunet.py MODEL STEP VIDEO..."""

import json
import sys

import cv2

model, step, videos = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
cv2.setNumThreads(2)
result = {}
for path in videos:
    video = cv2.VideoCapture(path)
    detector = None
    frames, found = 0, {}
    while True:
        if not video.grab():
            break
        if frames % step == 0:
            ok, picture = video.retrieve()
            assert ok
            if detector is None:
                size = (picture.shape[1], picture.shape[0])
                detector = cv2.FaceDetectorYN.create(model, "", size, 0.7, 0.3, 500)
            faces = detector.detect(picture)[1]
            found[frames] = [] if faces is None else [[float(v) for v in f[:4]] for f in faces]
        frames += 1
    result[path] = {"frames": frames, "found": found}
json.dump(result, sys.stdout)
