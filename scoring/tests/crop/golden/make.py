#!/usr/bin/env python3
"""Makes the golden files of tests/crop/golden.rs.

Needs gst-launch-1.0 (base and good plugins), NumPy and OpenCV. Written next to this file:

  FRAME.png  the bytes of a raw frame as GStreamer lays them out, as a gray picture as wide as the first stride
  CROPS.png  what must come out of it: 16-bit RGB (of which 12 are used), every crop below the one before, left aligned
  cases.json what is in them

The way of the reference: a picture drawn by NumPy -> videoconvert -> frame -> videoconvert to 12-bit RGB -> OpenCV's INTER_AREA
and INTER_LINEAR on floats. 12 bits, because of what videoconvert 1.22 makes of limited range video: with 8 bits, chroma that is
repeated instead of interpolated, and white of 253; with 16 bits, gray with a green cast of 1.5. What neither tool does
(regions between pixels, the rows of a field, the transfer functions of HDR) is written down in NumPy, here and independently.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent


def up(n, to):
    return (n + to - 1) // to * to


def layout(name, w, h, interlaced=False):
    """(stride, offset) of each plane and the size, by GStreamer's default alignment."""
    h2 = up(h, 2) // 2
    if interlaced:
        h2 = up(h2, 2)
    if name in ("RGB", "BGR"):
        strides, rows = [up(3 * w, 4)], [h]
    elif name in ("RGBx", "BGRx", "RGBA", "BGRA", "xRGB", "ARGB", "xBGR", "ABGR"):
        strides, rows = [4 * w], [h]
    elif name == "GRAY8":
        strides, rows = [up(w, 4)], [h]
    elif name in ("NV12", "NV21"):
        strides, rows = [up(w, 4)] * 2, [up(h, 2), h2]
    elif name in ("I420", "YV12"):
        strides, rows = [up(w, 4)] + [up(up(w, 2) // 2, 4)] * 2, [up(h, 2), h2, h2]
    elif name in ("YUY2", "UYVY"):
        strides, rows = [up(2 * w, 4)], [h]
    elif name == "Y42B":
        strides, rows = [up(w, 4)] + [up(w, 8) // 2] * 2, [h] * 3
    elif name == "Y444":
        strides, rows = [up(w, 4)] * 3, [h] * 3
    elif name == "P010_10LE":
        strides, rows = [up(2 * w, 4)] * 2, [up(h, 2), h2]
    elif name == "I420_10LE":
        strides, rows = [up(2 * w, 4)] + [up(w, 4)] * 2, [up(h, 2), h2, h2]
    elif name == "I422_10LE":
        strides, rows = [up(2 * w, 4)] + [up(w, 4)] * 2, [up(h, 2)] * 3
    elif name == "v210":
        strides, rows = [(w + 47) // 48 * 128], [h]
    elif name == "UYVP":
        strides, rows = [up((w * 2 * 5 + 3) // 4, 4)], [h]
    elif name == "Y210":
        strides, rows = [4 * up(w, 2)], [h]
    else:
        raise ValueError(name)
    offsets = [int(o) for o in np.cumsum([0] + [s * r for s, r in zip(strides, rows)])]
    return list(zip(strides, offsets)), offsets[-1]


def picture(w, h, seed):
    """Smooth colours, a zone plate on them, hard edges, and near black and white: RGB in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    u, v = x / w, y / h
    phase = rng.uniform(0, 2 * np.pi, 6)
    rgb = np.stack([0.5 + 0.4 * np.sin(2 * np.pi * (a * u + b * v) + p) for a, b, p in zip((0.7, 1.1, 0.4), (0.9, -0.5, 0.8), phase)], -1)
    r2 = (u - 0.5) ** 2 + (v - 0.5) ** 2
    rgb += 0.12 * np.cos(90 * r2 + phase[3])[..., None]
    rgb[h // 2 : h * 3 // 4, w // 8 : w // 3] = (0.85, 0.2, 0.25)
    rgb[h // 6 : h // 3, w * 2 // 3 : w - 3] = (0.1, 0.35, 0.8)
    rgb[-3:, : w // 2] = 0.02
    rgb[:2, w // 2 :] = 0.98
    return np.clip(rgb, 0, 1)


RGB = "1:1:7:1"
COLORIMETRY = {
    # name: range:matrix:transfer:primaries, as GStreamer numbers them
    ("limited", "bt601"): "2:4:16:4",
    ("limited", "bt709"): "2:3:5:1",
    ("limited", "bt2020"): "2:6:13:7",
    ("full", "bt601"): "1:4:16:4",
    ("full", "bt709"): "1:3:5:1",
    ("full", "bt2020"): "1:6:13:7",
    ("full", "rgb"): RGB,
}
SITES = {"jpeg": "jpeg", "mpeg2": "mpeg2", None: None}


def convert(rgb, name, colorimetry, site, scan):
    """The picture as a raw frame, and that frame as RGB in [0, 1], both by videoconvert."""
    h, w, _ = rgb.shape
    mode = "interlace-mode=" + ("progressive" if scan == "progressive" else "interleaved,field-order=" + scan)
    argb = np.full((h, w, 4), 65535, np.uint16)
    argb[..., 1:] = np.round(rgb * 65535)
    frame = videoconvert(argb.tobytes(), (w, h), f"ARGB64_LE,{mode},colorimetry={RGB}", described(name, mode, colorimetry, site))
    if scan == "progressive":
        source = frame
    else:
        source, name = first_field(frame, name, w, h, scan)
        h //= 2
    progressive = "interlace-mode=progressive"
    back = videoconvert(source, (w, h), described(name, progressive, colorimetry, site), f"GBR_12LE,{progressive},colorimetry={RGB}")
    stride = up(2 * w, 4) // 2
    g, b, r = np.frombuffer(back, np.uint16).reshape(3, -1, stride)[:, :h, :w]
    return frame, np.stack([r, g, b], -1).astype(np.float64) / 4095


def described(name, mode, colorimetry, site):
    return f"{name},{mode},colorimetry={colorimetry}" + (f",chroma-site={site}" if site else "")


def videoconvert(data, size, given, wanted):
    """The bytes of a frame in another format; `given` and `wanted` are what follows `format=` in the caps."""
    common = f"width={size[0]},height={size[1]},framerate=1/1,pixel-aspect-ratio=1/1"
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "source", Path(folder) / "made"
        source.write_bytes(data)
        # Bytes that pad a row would be what the memory held before: they are made the same each time.
        subprocess.run(
            f"gst-launch-1.0 -q filesrc location={source} blocksize={len(data)} ! capsfilter caps=application/octet-stream "
            f"! capssetter replace=true join=false caps=\"video/x-raw,format={given},{common}\" ! videoconvert dither=none "
            f"! video/x-raw,format={wanted},{common} ! filesink location={made}",
            shell=True, check=True, env=os.environ | {"MALLOC_PERTURB_": "165"})
        return made.read_bytes()


def first_field(frame, name, w, h, scan):
    """The rows of the field that is first in time, as a progressive frame, and its format.

    Done here because videoconvert 1.22 interpolates chroma as H.262 has it (figures 6-2 and 6-3) everywhere but in the first and
    the last row of a field, where it mixes in chroma of the other field: the second row of a frame gets 3/8 of the first
    chroma row, though that one is of the top field. Of formats whose chroma has all rows, it and this are the same.
    """
    parity = 0 if scan == "top-field-first" else 1
    planes, _ = layout(name, w, h, True)
    rows = [np.frombuffer(frame, np.uint8, s * (h if i == 0 else h // 2), o).reshape(-1, s) for i, (s, o) in enumerate(planes)]
    if len(rows) == 1 and name in ("UYVY", "v210"):
        return rows[0][parity::2].tobytes(), name
    if name in ("NV12", "I420"):
        luma, chroma, shift = rows[0], rows[1:], 4
    elif name == "P010_10LE":
        luma, chroma, shift = rows[0].view("<u2") >> 6, [rows[1].view("<u2") >> 6], 2
    else:
        raise ValueError(name)
    if len(chroma) == 1:
        chroma = [chroma[0][:, 0::2], chroma[0][:, 1::2]]
    planes = [luma[parity::2, :w].astype(np.float64)] + [field_chroma(c[:, : w // 2], h, parity) for c in chroma]
    # As 4:2:2 of 12 bits, so that nothing is lost.
    sides = [np.zeros((h // 2, up(n, 2)), "<u2") for n in (w, w // 2, w // 2)]
    for side, plane in zip(sides, planes):
        side[:, : plane.shape[1]] = np.round(plane * (1 << shift))
    return b"".join(s.tobytes() for s in sides), "I422_12LE"


def field_chroma(plane, h, parity):
    """4:2:0 chroma at each luma row of a field. Chroma row k of the frame lies half a row below its luma row 2 k, and the
    rows take turns between the fields."""
    have = 2 * np.arange(plane.shape[0]) + 0.5
    want = np.arange(parity, h, 2)
    return np.stack([np.interp(want, have[parity::2], column) for column in plane[parity::2].T.astype(np.float64)], -1)


def pad(rgb, region):
    """The picture with its edges repeated as far as the region reaches, and the region there."""
    x, y, w, h = region
    left, top = int(max(0, np.ceil(-x))) + 4, int(max(0, np.ceil(-y))) + 4
    right = int(max(0, np.ceil(x + w - rgb.shape[1]))) + 4
    bottom = int(max(0, np.ceil(y + h - rgb.shape[0]))) + 4
    return np.pad(rgb, ((top, bottom), (left, right), (0, 0)), mode="edge"), (x + left, y + top, w, h)


def along(picture, start, length, targets, axis):
    """One axis resampled: by OpenCV where it can, else by the integral of the rows (area) or np.interp (linear)."""
    picture = np.moveaxis(picture, axis, 0)
    step = length / targets
    n = picture.shape[0]
    if step >= 1 and start == int(start) and length == int(length):
        cut = picture[int(start) : int(start + length)]
        flat = np.ascontiguousarray(cut.reshape(cut.shape[0], -1))
        out = cv2.resize(flat, (flat.shape[1], targets), interpolation=cv2.INTER_AREA)
    elif step >= 1:
        sums = np.concatenate([np.zeros((1,) + picture.shape[1:]), np.cumsum(picture, 0)]).reshape(n + 1, -1)
        at = start + step * np.arange(targets + 1)
        integral = np.stack([np.interp(at, np.arange(n + 1), s) for s in sums.T], -1)
        out = np.diff(integral, axis=0) / step
    elif start == int(start) and length == int(length) and targets % int(length) == 0:
        # Two pixels more on either side, so that OpenCV does not stop at the region's edge.
        times = targets // int(length)
        cut = picture[int(start) - 2 : int(start + length) + 2]
        flat = np.ascontiguousarray(cut.reshape(cut.shape[0], -1))
        big = cv2.resize(flat, (flat.shape[1], cut.shape[0] * times), interpolation=cv2.INTER_LINEAR)
        out = big[2 * times : 2 * times + targets]
    else:
        at = start + step * (np.arange(targets) + 0.5) - 0.5
        flat = picture.reshape(n, -1)
        out = np.stack([np.interp(at, np.arange(n), s) for s in flat.T], -1)
    return np.moveaxis(out.reshape((targets,) + picture.shape[1:]), 0, axis)


def crop(rgb, region, size, scan):
    if scan != "progressive":
        # One field: its row k lies at row 2k (top) or 2k + 1 (bottom) of the frame.
        x, y, w, h = region
        region = (x, y / 2 + (0.25 if scan == "top-field-first" else -0.25), w, h / 2)
    padded, (x, y, w, h) = pad(rgb, region)
    return along(along(padded, x, w, size[0], 1), y, h, size[1], 0)


def hdr_to_sdr(e, transfer):
    """BT.2100 R'G'B' to SDR as the crate's documentation tells: light / 203, BT.709 primaries, knee at 3/4, 1/2.4."""
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        p = e ** (1 / m2)
        light = 10000 / 203 * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
        luma = scene @ np.array([0.2627, 0.678, 0.0593])
        light = 1000 / 203 * scene * (luma**0.2)[..., None]
    # From the primaries' chromaticities, not from a published matrix.
    def to_xyz(primaries):
        m = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
        white = np.array([0.3127 / 0.329, 1, (1 - 0.3127 - 0.329) / 0.329])
        return m * np.linalg.solve(m, white)
    wide, narrow = to_xyz([(0.708, 0.292), (0.17, 0.797), (0.131, 0.046)]), to_xyz([(0.64, 0.33), (0.3, 0.6), (0.15, 0.06)])
    light = np.maximum(light @ np.linalg.solve(narrow, wide).T, 0)
    top = light.max(-1, keepdims=True)
    bent = np.where(top <= 0.75, top, 1 - 0.25 * np.exp((0.75 - top) / 0.25))
    return np.clip(light * bent / np.maximum(top, 1e-9), 0, 1) ** (1 / 2.4)


def main():
    for old in HERE.glob("*.png"):
        old.unlink()
    yuv = ["NV12", "I420", "NV21", "YV12", "YUY2", "UYVY", "Y42B", "Y444", "P010_10LE", "I420_10LE", "I422_10LE", "v210", "UYVP", "Y210"]
    rgbs = ["RGB", "BGR", "RGBx", "BGRx", "RGBA", "BGRA", "xRGB", "ARGB", "xBGR", "ABGR", "GRAY8"]
    combos = [(r, m) for m in ("bt601", "bt709", "bt2020") for r in ("limited", "full")]
    todo = []
    for i, name in enumerate(yuv):
        for j, size in enumerate([(50, 38), (49, 37)]):
            site = [None, "mpeg2", "jpeg"][(i + j) % 3]
            todo.append((name, size, combos[(i + 3 * j) % 6], site, "progressive", "sdr"))
    for i, name in enumerate(rgbs):
        for size in [(34, 26), (33, 25)] if name in ("RGB", "BGR", "GRAY8") else [(33, 25)]:
            todo.append((name, size, ("full", "bt601" if name == "GRAY8" else "rgb"), None, "progressive", "sdr"))
    for name in ("NV12", "v210"):
        todo += [(name, (40, 28), c, "mpeg2", "progressive", "sdr") for c in combos]
    for name in ("I420", "NV12", "UYVY", "v210", "P010_10LE"):
        for scan in ("top-field-first", "bottom-field-first"):
            todo.append((name, (48, 40), combos[2], "mpeg2" if name == "NV12" else None, scan, "sdr"))
    for transfer in ("pq", "hlg"):
        for name in ("P010_10LE", "v210"):
            todo.append((name, (48, 36), ("limited", "bt2020"), "mpeg2", "progressive", transfer))

    cases = []
    for number, (name, (w, h), (level, matrix), site, scan, transfer) in enumerate(todo):
        drawn = picture(w, h, number)
        if transfer == "pq":
            drawn = 0.1 + 0.62 * drawn  # as bright as such programmes are
        frame, rgb = convert(drawn, name, COLORIMETRY[level, matrix], site, scan)
        planes, total = layout(name, w, h, scan != "progressive")
        if total != len(frame):
            raise SystemExit(f"{name} {w}x{h}: {len(frame)} bytes, expected {total}")
        regions = [
            ((0, 0, w, h), (w // 4, h // 4 + 1)),
            ((5, 3, 24, 20), (9, 10)),
            ((-3, -2, 6, 5), (12, 15)),
            ((w - 14.3, h - 15.6, 23.7, 19.1), (10, 8)),
            ((w / 3 + 0.4, 4.7, 11.2, 6.9), (8, 11)),
        ]
        made = [crop(rgb, r, s, scan) for r, s in regions]
        if transfer != "sdr":
            made = [hdr_to_sdr(np.clip(m, 0, 1), transfer) for m in made]
        sheet = np.zeros((sum(m.shape[0] for m in made), max(m.shape[1] for m in made), 3), np.uint16)
        top = 0
        for m in made:
            sheet[top : top + m.shape[0], : m.shape[1]] = np.minimum(np.round(np.clip(m, 0, 1) * 65535 / 16) * 16, 65535)
            top += m.shape[0]
        label = f"{number:02}_{name}_{w}x{h}"
        stride = planes[0][0]
        data = np.frombuffer(frame + bytes(-len(frame) % stride), np.uint8).reshape(-1, stride)
        best = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_FILTER]
        cv2.imwrite(str(HERE / f"{label}.frame.png"), data, best + [cv2.IMWRITE_PNG_ALL_FILTERS])
        cv2.imwrite(str(HERE / f"{label}.crops.png"), sheet[..., ::-1], best + [cv2.IMWRITE_PNG_FILTER_NONE])
        cases.append({
            "name": label, "format": name, "width": w, "height": h, "range": level, "matrix": matrix, "site": site or "jpeg",
            "scan": scan, "transfer": transfer, "planes": [{"offset": o, "stride": s} for s, o in planes],
            "crops": [{"region": list(map(float, r)), "size": s} for r, s in regions],
        })
    text = ",\n".join(json.dumps(c) for c in cases)
    (HERE / "cases.json").write_text(f"[\n{text}\n]\n")
    total = sum(p.stat().st_size for p in HERE.iterdir())
    print(len(cases), "cases,", total // 1000, "kB")


if __name__ == "__main__":
    main()
