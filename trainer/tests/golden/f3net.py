"""F3Net in PyTorch, for `networks.py`: two of timm's Xceptions, transforms by SciPy, windows by `unfold`, bands by index lists.

`python3 f3net.py > frequency.json` writes golden values of the transforms by themselves.
"""

import json

import numpy as np
import scipy.fft
import timm
import torch
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
WINDOW = 10


def matrix(size):
    """Of the orthonormal transform: what it makes of the unit vectors."""
    return torch.from_numpy(scipy.fft.dct(np.eye(size), axis=0, norm="ortho"))


def diagonals(size, first, last):
    """1 for coefficients on the diagonals `first` to `last`."""
    mask = np.zeros((size, size), dtype=np.float32)
    for k in range(size):
        for l in range(size):
            if first <= k + l <= last:
                mask[k, l] = 1
    return torch.from_numpy(mask)


class Filter(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.register_buffer("base", base, persistent=False)
        self.learnable = nn.Parameter(torch.zeros_like(base))

    def forward(self):
        return self.base + 2 * torch.sigmoid(self.learnable) - 1


class Decomposition(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.register_buffer("transform", matrix(size).float(), persistent=False)
        sixteenth, eighth = int(size // 2.82), size // 2
        ends = [(0, sixteenth), (sixteenth + 1, eighth), (eighth + 1, 2 * size), (0, 2 * size)]
        self.filters = nn.ModuleList(Filter(diagonals(size, *band)) for band in ends)

    def forward(self, x):
        d = self.transform
        spectrum = torch.einsum("kh,nchw,lw->nckl", d, x, d)
        pictures = [torch.einsum("kh,nckl,lw->nchw", d, spectrum * f(), d) for f in self.filters]
        return torch.cat(pictures, 1)


class Statistics(nn.Module):
    # The diagonals of the six bands, whose ends are at thirds of ten: 3.3, 6.7, 10, 13.3, 16.7, 20.
    BANDS = [(0, 3), (4, 6), (7, 10), (11, 13), (14, 16), (17, 20)]

    def __init__(self):
        super().__init__()
        d = matrix(WINDOW)
        # Coefficients of a window as one vector from its pixels as one vector.
        self.register_buffer("transform", torch.kron(d, d).float(), persistent=False)
        base = torch.stack([diagonals(WINDOW, *band).flatten() for band in self.BANDS])
        self.register_buffer("base", base, persistent=False)
        self.learnable = nn.Parameter(torch.zeros(len(self.BANDS), WINDOW * WINDOW, 1, 1))

    def forward(self, x):
        side = x.shape[-1] // 2
        red, green, blue = ((x * STD + MEAN) * 255).unbind(1)
        gray = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
        windows = nn.functional.unfold(gray, WINDOW, padding=4, stride=2)
        coefficients = self.transform @ windows
        filters = self.base + 2 * torch.sigmoid(self.learnable[:, :, 0, 0]) - 1
        sums = [(coefficients * f[None, :, None]).abs().sum(1) for f in filters]
        return torch.log10(1 + torch.stack(sums, 1)).unflatten(2, (side, side))


class Mix(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for stream in ["FAD", "LFS"]:
            setattr(self, f"{stream}_query", nn.Conv2d(channels, channels, 1))
            setattr(self, f"{stream}_key", nn.Conv2d(channels, channels, 1))
            setattr(self, f"{stream}_gamma", nn.Parameter(torch.zeros(1)))
            setattr(self, f"{stream}_conv", nn.Conv2d(channels, channels, 1, groups=channels))
            setattr(self, f"{stream}_bn", nn.BatchNorm2d(channels))

    def forward(self, fad, lfs):
        query = torch.cat([self.FAD_query(fad), self.LFS_query(lfs)], 3)
        key = torch.cat([self.FAD_key(fad), self.LFS_key(lfs)], 3)
        attention = torch.einsum("ncik,ncjk->ncij", query, key).softmax(3)
        from_lfs = lfs * attention * (2 * torch.sigmoid(self.LFS_gamma) - 1)
        from_fad = fad * attention * (2 * torch.sigmoid(self.FAD_gamma) - 1)
        return fad + self.FAD_bn(self.FAD_conv(from_lfs)), lfs + self.LFS_bn(self.LFS_conv(from_fad))


def xception(inputs, stride):
    net = timm.create_model("legacy_xception", num_classes=0)
    net.conv1 = nn.Conv2d(inputs, 32, 3, stride, 0, bias=False)
    return net


def first(net, x):
    x = net.act1(net.bn1(net.conv1(x)))
    return net.act2(net.bn2(net.conv2(x)))


def blocks(net, x, numbers):
    for number in numbers:
        x = getattr(net, f"block{number}")(x)
    return x


def last(net, x):
    x = net.act3(net.bn3(net.conv3(x)))
    return net.act4(net.bn4(net.conv4(x)))


class F3Net(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.FAD_head = Decomposition(size)
        self.LFS_head = Statistics()
        self.FAD_xcep = xception(12, 2)
        self.LFS_xcep = xception(6, 1)
        self.mix_block7 = Mix(728)
        self.mix_block12 = Mix(1024)
        self.fc = nn.Linear(4096, 1000)

    def features(self, x):
        fad, lfs = first(self.FAD_xcep, self.FAD_head(x)), first(self.LFS_xcep, self.LFS_head(x))
        fad, lfs = blocks(self.FAD_xcep, fad, range(1, 8)), blocks(self.LFS_xcep, lfs, range(1, 8))
        fad, lfs = self.mix_block7(fad, lfs)
        fad, lfs = blocks(self.FAD_xcep, fad, range(8, 13)), blocks(self.LFS_xcep, lfs, range(8, 13))
        fad, lfs = self.mix_block12(fad, lfs)
        return torch.cat([last(self.FAD_xcep, fad), last(self.LFS_xcep, lfs)], 1)


def main():
    generator = np.random.default_rng(1)
    out = {"matrices": {}, "windows": []}
    for size in [2, 5, 8]:
        out["matrices"][size] = [float(f"{v:.9g}") for v in matrix(size).flatten().tolist()]
    for side in [4, 10]:
        window = np.round(generator.uniform(0, 255, (side, side)))
        coefficients = scipy.fft.dctn(window, norm="ortho")
        out["windows"].append(
            {
                "side": side,
                "pixels": window.flatten().tolist(),
                "coefficients": [float(f"{v:.9g}") for v in coefficients.flatten().tolist()],
            }
        )
    # A whole picture, and what is left of it in the three bands of the first sixteenth, the second, the rest.
    size = 48
    picture = generator.uniform(-1, 1, (size, size))
    spectrum = scipy.fft.dctn(picture, norm="ortho")
    diagonal = np.add.outer(np.arange(size), np.arange(size))
    bands = []
    for inside in [diagonal <= 17, (diagonal > 17) & (diagonal <= 24), diagonal > 24]:
        bands.append(scipy.fft.idctn(spectrum * inside, norm="ortho")[7])
    out["picture"] = {
        "size": size,
        "pixels": [float(f"{v:.9g}") for v in picture.flatten().tolist()],
        "row_7_of_bands": [[float(f"{v:.9g}") for v in band.tolist()] for band in bands],
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
