"""Golden values for tests/localize.rs: fusion of class activation maps, and their resizing, told again in NumPy and OpenCV.

Run from this folder: python fusion.py"""

import itertools
import json

import cv2
import numpy as np

SIDE = 13
CASES = [
    {"fusion": "mean", "members": 3, "tau1": 0.3, "tau2": 0.1, "tau3": 0.2},
    {"fusion": "max", "members": 3, "tau1": 0.8, "tau2": 0.1, "tau3": 0.2},
    {"fusion": "neighbour", "members": 2, "tau1": 0.3, "tau2": 0.1, "tau3": 0.2},
    {"fusion": "neighbour", "members": 3, "tau1": 0.5, "tau2": 0.15, "tau3": 0.35},
    {"fusion": "neighbour", "members": 4, "tau1": 0.45, "tau2": 0.25, "tau3": 0.3},
]


def hashed(count, salt):
    """Numbers in [0, 1): the same function of the index as in the test."""
    v = (np.arange(count, dtype=np.uint64) * 2_654_435_761 + salt * 40_503 + 12_345) % 2**32
    v = (v ^ (v >> np.uint64(15))) * 2_246_822_519 % 2**32
    v ^= v >> np.uint64(13)
    return v.astype(np.float64) / 2**32


def member(salt):
    """A coarse map of the kind that a network draws, scaled to [0, 1] and made finer."""
    coarse = hashed(16, salt).reshape(4, 4) ** 2
    coarse = (coarse - coarse.min()) / (coarse.max() - coarse.min())
    fine = np.zeros((SIDE, SIDE))
    for y, x in itertools.product(range(SIDE), repeat=2):
        fine[y, x] = coarse[y * 4 // SIDE, x * 4 // SIDE]
    return 0.8 * fine + 0.2 * hashed(SIDE * SIDE, salt + 100).reshape(SIDE, SIDE)


def fuse(maps, fusion, tau1, tau2, tau3):
    fused = np.max(maps, axis=0) if fusion == "max" else np.mean(maps, axis=0)
    result = np.where(fused > tau1, fused, 0.0)
    branches = {"kept": int((fused > tau1).sum()), "second": 0, "dropped": 0}
    if fusion == "neighbour":
        for y, x in itertools.product(range(SIDE), repeat=2):
            if fused[y, x] > tau1 or fused[y, x] < tau2:
                continue
            rows, columns = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
            differences = [
                np.abs(maps[j][rows, columns] - maps[k][y, x]).mean()
                for k, j in itertools.permutations(range(len(maps)), 2)
            ]
            assert all(abs(d - tau3) > 1e-6 for d in differences), "too near to the threshold"
            if max(differences) > tau3:
                largest = np.max([m[rows, columns] for m in maps], axis=0)
                row, column = np.unravel_index(largest.argmax(), largest.shape)
                result[y, x] = fused[rows.start + row, columns.start + column]
                branches["second"] += 1
            else:
                branches["dropped"] += 1
    assert np.abs(fused - tau1).min() > 1e-6 and np.abs(fused - tau2).min() > 1e-6
    return result, branches


cases = []
for case in CASES:
    rule = {k: case[k] for k in ("fusion", "tau1", "tau2", "tau3")}
    result, branches = fuse([member(1 + m) for m in range(case["members"])], **rule)
    cases.append({**case, "branches": branches, "result": [round(float(v), 7) for v in result.ravel()]})
resized = cv2.resize(hashed(4 * 7, 7).reshape(4, 7).astype(np.float32), (24, 24), interpolation=cv2.INTER_LINEAR)
golden = {
    "side": SIDE,
    "members": [[round(float(v), 7) for v in member(1 + m).ravel()] for m in range(4)],
    "cases": cases,
    "resized_7x4_to_24": [round(float(v), 6) for v in resized.ravel()],
}
with open("fusion.json", "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
for case in cases:
    print({k: v for k, v in case.items() if k != "result"})
