"""Golden values of the distortions, by OpenCV and NumPy: `python3 distortions.py > distortions.json`.

Bytes stand as hexadecimal text, R G B, rows from the top. The noise, which no two libraries draw alike, is told by its moments."""

import json

import cv2
import numpy as np

WIDTH, HEIGHT = 27, 22
LEVELS = [1, 3, 5]


def picture():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [128 + 90 * np.sin(x / (2 + c) + y / 5 + c) for c in range(3)]
    values = np.stack(waves, -1) + rng.normal(0, 25, (HEIGHT, WIDTH, 3))
    values[2:6, 3:9] = [255, 0, 0]
    values[10:15, 12:20] = [0, 255, 255]
    return np.clip(values, 0, 255).astype(np.uint8)


def to_studio(rgb):
    """Y' from 16 to 235 and Cb, Cr around 128; floats."""
    ycrcb = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    return np.stack([ycrcb[..., 0] * 219 + 16, ycrcb[..., 2] * 224 + 16, ycrcb[..., 1] * 224 + 16], -1)


def to_rgb(studio):
    ycrcb = np.stack([(studio[..., 0] - 16) / 219, (studio[..., 2] - 16) / 224, (studio[..., 1] - 16) / 224], -1)
    return 255.0 * cv2.cvtColor(ycrcb.astype(np.float32), cv2.COLOR_YCrCb2RGB).astype(np.float64)


def saturation(rgb, level):
    factor = [0.4, 0.3, 0.2, 0.1, 0.0][level - 1]
    studio = to_studio(rgb)
    studio[..., 1:] = 127.5 + (studio[..., 1:] - 127.5) * factor
    return np.clip(to_rgb(studio), 0, 255).astype(np.uint8)


def contrast(rgb, level):
    return (rgb.astype(np.float32) * np.float32([0.85, 0.725, 0.6, 0.475, 0.35][level - 1])).astype(np.uint8)


def blur(rgb, level):
    kernel = [7, 9, 13, 17, 21][level - 1]
    return cv2.GaussianBlur(rgb, (kernel, kernel), kernel / 6)


def pixelation(rgb, level):
    factor = [2, 3, 4, 5, 6][level - 1]
    return cv2.resize(cv2.resize(rgb, (WIDTH // factor, HEIGHT // factor)), (WIDTH, HEIGHT))


def noise(level):
    """Means and deviations of R, G, B and the correlation of R and B over a large even picture."""
    variance = [0.001, 0.002, 0.005, 0.01, 0.05][level - 1]
    rgb = np.full((1000, 1000, 3), [120, 130, 110], np.uint8)
    draws = np.random.default_rng(level).normal(size=rgb.shape)
    noisy = np.clip(to_rgb(to_studio(rgb) + np.sqrt(variance) * draws * 255), 0, 255).astype(np.uint8)
    flat = noisy.reshape(-1, 3).astype(np.float64)
    return {
        "mean": list(flat.mean(0).round(3)),
        "deviation": list(flat.std(0).round(3)),
        "correlation": round(float(np.corrcoef(flat[:, 0], flat[:, 2])[0, 1]), 4),
    }


def main():
    rgb = picture()
    kinds = {"saturation": saturation, "contrast": contrast, "blur": blur, "pixelation": pixelation}
    distorted = {name: {level: kind(rgb, level).tobytes().hex() for level in LEVELS} for name, kind in kinds.items()}
    moments = {level: noise(level) for level in range(1, 6)}
    whole = {"width": WIDTH, "height": HEIGHT, "picture": rgb.tobytes().hex(), "distorted": distorted, "noise": moments}
    print(json.dumps(whole, indent=1))


main()
