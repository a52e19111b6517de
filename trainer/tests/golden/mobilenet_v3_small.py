"""Golden values of the network and of AdamW, by PyTorch and torchvision: `python3 mobilenet_v3_small.py > mobilenet_v3_small.json`.

The weights are a function of their places, so that they need not be stored: see `numbers`, which the test has too.
"""

import json
import math

import numpy as np
import torch
import torchvision


def numbers(count, salt):
    """Numbers in [-0.5, 0.5): a multiplicative hash of the index."""
    index = np.arange(count, dtype=np.uint64)
    hashed = (index * 2654435761 + salt * 40503 + 12345) % 2**32
    hashed = (hashed ^ (hashed >> np.uint64(15))) * 2246822519 % 2**32
    hashed = hashed ^ (hashed >> np.uint64(13))
    return hashed.astype(np.float64) / 2**32 - 0.5


def fill(state):
    """Sets every tensor of the body; returns names and shapes in their order."""
    described = []
    salt = 0
    for name, tensor in state.items():
        if not name.startswith("features.") or name.endswith("num_batches_tracked"):
            continue
        salt += 1
        values = numbers(tensor.numel(), salt)
        if name.endswith("running_var"):
            values = values + 1.0
        elif name.endswith("running_mean"):
            values = values * 0.2
        elif tensor.dim() == 4:
            fan_in = tensor.shape[1] * tensor.shape[2] * tensor.shape[3]
            values = values * math.sqrt(24.0 / fan_in)
        elif name.endswith("weight"):
            values = values + 1.0
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).view(tensor.shape))
        described.append([name, list(tensor.shape)])
    return described


def body(stem_stride):
    net = torchvision.models.mobilenet_v3_small()
    net.features[0][0].stride = (stem_stride, stem_stride)
    with torch.no_grad():
        described = fill(net.state_dict())
    return net, described


def rounded(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().double().flatten().tolist()]


def main():
    torch.set_num_threads(1)
    net, described = body(2)
    picture = torch.from_numpy((numbers(2 * 3 * 64 * 64, 999) * 4).astype(np.float32)).view(2, 3, 64, 64)
    out = {
        "parameters_with_1000_classes": sum(p.numel() for p in net.parameters()),
        "tensors": described,
        "size": 64,
    }
    net.eval()
    with torch.no_grad():
        features = net.features(picture)
        out["features_shape"] = list(features.shape)
        out["features_of_channel_7"] = rounded(features[:, 7])
        out["pooled"] = rounded(features.mean((2, 3)))
        stride_1, _ = body(1)
        stride_1.eval()
        out["pooled_stride_1"] = rounded(stride_1.features(picture).mean((2, 3)))

    # One step of training: batch statistics, gradients, running statistics.
    net.train()
    pooled = net.features(picture).mean((2, 3))
    (pooled * torch.from_numpy(numbers(pooled.numel(), 1000).astype(np.float32)).view(pooled.shape)).sum().backward()
    named = dict(net.named_parameters())
    out["gradient_norms"] = {
        name: float(named[name].grad.norm())
        for name in ["features.0.0.weight", "features.1.block.1.fc1.bias", "features.4.block.1.1.weight", "features.12.0.weight"]
    }
    out["running_mean_after"] = rounded(net.state_dict()["features.0.1.running_mean"])

    # AdamW: a kernel (with decay) for five steps.
    weight = torch.nn.Parameter(torch.from_numpy(numbers(12, 1001).astype(np.float32)).view(3, 4))
    adam = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05)
    for step in range(5):
        weight.grad = torch.from_numpy(numbers(12, 2000 + step).astype(np.float32)).view(3, 4)
        adam.step()
    out["adamw"] = rounded(weight)
    print(json.dumps(out))


main()
