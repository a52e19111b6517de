"""Golden values of the changes of colour and sharpness, and of a fitted outline, by OpenCV and NumPy:
`python3 synthesize.py > synthesize.json`. Bytes stand as hexadecimal text, R G B, rows from the top."""

import json

import cv2
import numpy as np

WIDTH, HEIGHT = 20, 16


def picture():
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    values = np.stack([128 + 100 * np.sin(x / (3 + c) + y / 4 + c) for c in range(3)], -1)
    values += rng.normal(0, 12, values.shape)
    values[2:5, 2:5] = [40, 40, 40]
    values[8:12, 10:15] = [250, 20, 30]
    return np.clip(values, 0, 255).astype(np.uint8)


def colour(rgb, shift, hue, saturation, value, contrast, brightness):
    """Hue in degrees; brightness and shift in values of a byte."""
    shifted = np.clip(rgb.astype(np.float32) + np.float32(shift), 0, 255) / 255
    hsv = cv2.cvtColor(shifted, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
    hsv[..., 2] = np.minimum(hsv[..., 2] * value, 1)
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    return np.clip(np.round(turned * contrast + brightness), 0, 255).astype(np.uint8)


def sharpened(rgb, share):
    effect = np.full((3, 3), -1.0)
    effect[1, 1] = 9
    kernel = share * effect
    kernel[1, 1] += 1 - share
    return cv2.filter2D(rgb, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def downscaled(rgb, by):
    width, height = round(WIDTH / by), round(HEIGHT / by)
    columns = np.floor((np.arange(width) + 0.5) * WIDTH / width).astype(int)
    rows = np.floor((np.arange(height) + 0.5) * HEIGHT / height).astype(int)
    small = rgb[rows][:, columns].astype(np.float32)
    return np.round(cv2.resize(small, (WIDTH, HEIGHT))).astype(np.uint8)


def fitted(points):
    """Where the template's chin and both its cheeks come to lie: least squares, then narrower where the nose points to."""
    template = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, 0.57), (-0.41, 1.156), (0.41, 1.156)])
    fit = np.linalg.lstsq(np.c_[template, np.ones(5)], np.array(points), rcond=None)[0]
    left_over = points[2] - np.array([0.0, 0.57, 1.0]) @ fit
    aside = np.linalg.solve(fit[:2].T, left_over)[0]
    near, far = 1 + 0.5 * abs(aside), max(1 - 0.8 * abs(aside), 0.4)
    right, left = (far, near) if aside > 0 else (near, far)
    return (np.array([[0.0, 1.8, 1.0], [1.08 * right, 0.1, 1.0], [-1.08 * left, 0.1, 1.0]]) @ fit).tolist()


def main():
    rgb = picture()
    change = {"shift": [12.0, -9.0, 5.0], "hue": -7.5, "saturation": 1.2, "value": 0.93, "contrast": 1.08, "brightness": -6.0}
    looks_aside = [[0.36, 0.4], [0.55, 0.37], [0.51, 0.53], [0.41, 0.66], [0.56, 0.63]]
    golden = {
        "width": WIDTH,
        "height": HEIGHT,
        "picture": rgb.tobytes().hex(),
        "change": change,
        "colour": colour(rgb, **change).tobytes().hex(),
        "sharpened": {share: sharpened(rgb, share).tobytes().hex() for share in (0.2, 0.5)},
        "downscaled": {by: downscaled(rgb, by).tobytes().hex() for by in (2, 2.7, 4)},
        "landmarks": looks_aside,
        "fitted": fitted(looks_aside),
    }
    print(json.dumps(golden, indent=1))


main()
