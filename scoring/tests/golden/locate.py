#!/usr/bin/env python3
"""Makes locate.json: outputs of face detectors (random, seeded) and the faces that other implementations see in them.

YuNet is decoded by OpenCV's FaceDetectorYN, which is given a graph whose outputs are the random numbers; UltraFace and SCRFD are
decoded by NumPy, after the published descriptions. All are suppressed by OpenCV's NMSBoxes.

Needs numpy, onnx, opencv-python-headless.
"""

import json
import pathlib
import tempfile

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT = 96, 64
STRIDES = (8, 16, 32)
CONFIDENCE, IOU = 0.7, 0.3
rng = np.random.default_rng(20)


def uniform(low, high, *shape, digits=3):
    # Few digits keep the file small; the numbers are exact in it all the same.
    return np.round(rng.uniform(low, high, shape), digits).astype(np.float32)


def scores_of(*shape):
    # Enough digits for no two to be equal: their order would be anybody's.
    return uniform(0, 1, *shape, digits=6)


def cells(stride):
    return (WIDTH // stride) * (HEIGHT // stride)


def suppressed(boxes, scores):
    kept = cv2.dnn.NMSBoxes([list(map(float, b)) for b in boxes], list(map(float, scores)), CONFIDENCE, IOU)
    return sorted(np.asarray(kept).reshape(-1).tolist(), key=lambda i: -scores[i])


def face(box, score, landmarks):
    return {
        "bbox": [float(v) for v in box],
        "confidence": float(score),
        "landmarks": None if landmarks is None else [float(v) for v in landmarks],
    }


def constant_graph(outputs):
    """A graph that takes a picture and gives those outputs."""
    nodes = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0), helper.make_node("Mul", ["mean", "zero"], ["nothing"])]
    initializers = [numpy_helper.from_array(np.float32(0), "zero")]
    infos = []
    for name, array in outputs.items():
        initializers.append(numpy_helper.from_array(array, name + "_numbers"))
        nodes.append(helper.make_node("Add", [name + "_numbers", "nothing"], [name]))
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    graph = helper.make_graph(nodes, "constant", [picture], infos, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def yunet():
    outputs = {}
    for what, low, high, width in (("cls", -0.1, 1.1, 1), ("obj", -0.1, 1.1, 1), ("bbox", -0.6, 1.3, 4), ("kps", -2, 2, 10)):
        for stride in STRIDES:
            outputs[f"{what}_{stride}"] = uniform(low, high, 1, cells(stride), width)
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "yunet.onnx")
        onnx.save(constant_graph(outputs), path)
        # Its own suppression rounds the boxes to whole pixels: it is told to keep all.
        detector = cv2.FaceDetectorYN.create(path, "", (WIDTH, HEIGHT), CONFIDENCE, 1.0, 5000)
        _, found = detector.detect(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return outputs, [face(found[i, :4], found[i, 14], found[i, 4:14]) for i in suppressed(found[:, :4], found[:, 14])]


def ultraface():
    count = 120
    probability = scores_of(count)
    scores = np.stack([1 - probability, probability], axis=1)[None]
    corner, size = uniform(0, 0.8, count, 2), uniform(0.05, 0.4, count, 2)
    boxes = np.concatenate([corner, corner + size], axis=1)[None].astype(np.float32)
    pixels = boxes[0] * np.float32([WIDTH, HEIGHT, WIDTH, HEIGHT])
    pixels[:, 2:] -= pixels[:, :2]
    kept = suppressed(pixels, scores[0, :, 1])
    return {"scores": scores, "boxes": boxes}, [face(pixels[i], scores[0, i, 1], None) for i in kept]


def scrfd():
    outputs, boxes, scores, points = {}, [], [], []
    for stride in STRIDES:
        count = cells(stride) * 2
        score, distance, offset = scores_of(count, 1), uniform(0.1, 3, count, 4), uniform(-2, 2, count, 10)
        outputs[f"score_{stride}"], outputs[f"bbox_{stride}"], outputs[f"kps_{stride}"] = score, distance, offset
        rows, columns = np.mgrid[: HEIGHT // stride, : WIDTH // stride]
        centre = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).repeat(2, axis=1).reshape(-1, 2) * stride
        low, high = centre - distance[:, :2] * stride, centre + distance[:, 2:] * stride
        boxes.append(np.concatenate([low, high - low], axis=1))
        scores.append(score[:, 0])
        points.append((centre[:, None] + offset.reshape(-1, 5, 2) * stride).reshape(-1, 10))
    boxes, scores, points = map(np.concatenate, (boxes, scores, points))
    kept = suppressed(boxes, scores)
    return outputs, [face(boxes[i], scores[i], points[i]) for i in kept]


def main():
    result = {"width": WIDTH, "height": HEIGHT, "confidence": CONFIDENCE, "iou": IOU}
    for make in (yunet, ultraface, scrfd):
        outputs, faces = make()
        numbers = {k: {"dims": list(v.shape), "values": v.reshape(-1).tolist()} for k, v in outputs.items()}
        result[make.__name__] = {"outputs": numbers, "faces": faces}
        print(f"{make.__name__}: {len(faces)} faces")
    text = json.dumps(json.loads(json.dumps(result), parse_float=lambda s: float(f"{float(s):.7g}")), separators=(",", ":"))
    pathlib.Path(__file__).with_name("locate.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
