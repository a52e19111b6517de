"""Golden values of the networks, by PyTorch with torchvision and timm: `python3 networks.py [NAME ...]` writes `networks/NAME.json`.

The weights are a function of their names and places, so that they need not be stored: see `fill`, which the test has too. With
that, equal outputs say that every tensor of the reference stands at the same place under the same name here.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import sys
import typing

import numpy as np
import timm
import torch
import torchvision
from torchvision.models.efficientnet import MBConv
from torchvision.ops.misc import SqueezeExcitation

import f3net

SIZE = 64
KEPT = 48


def numbers(count, salt):
    """Numbers in [-0.5, 0.5): a multiplicative hash of the index."""
    index = np.arange(count, dtype=np.uint64)
    hashed = (index * 2654435761 + salt * 40503 + 12345) % 2**32
    hashed = (hashed ^ (hashed >> np.uint64(15))) * 2246822519 % 2**32
    hashed = hashed ^ (hashed >> np.uint64(13))
    return hashed.astype(np.float64) / 2**32 - 0.5


def salt(name):
    """FNV-1a, 32 bits."""
    state = 2166136261
    for byte in name.encode():
        state = (state ^ byte) * 16777619 % 2**32
    return state


def fill(state):
    """Sets every tensor by its name."""
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        values = numbers(tensor.numel(), salt(name))
        if name.endswith("running_var"):
            values = values + 1.0
        elif name.endswith("running_mean"):
            values = values * 0.2
        elif tensor.dim() >= 2:
            values = values * math.sqrt(20.0 / (tensor.numel() / tensor.shape[0]))
        elif name.endswith("weight"):
            values = values + 1.0
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).view(tensor.shape))


def names_and_shapes(state):
    """Sorted, as `name 1x2x3`."""
    return sorted(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in state.items())


def names_digest(state):
    """SHA-256 of those, a line each."""
    return hashlib.sha256("".join(line + "\n" for line in names_and_shapes(state)).encode()).hexdigest()


def rounded(tensor):
    return [float(f"{v:.7g}") for v in tensor.detach().double().flatten().tolist()]


def some(pooled):
    """Evenly spaced ones of the pooled features of both pictures."""
    return rounded(pooled[:, :: max(1, pooled.shape[1] // KEPT)])


@dataclasses.dataclass
class Reference:
    """How another library builds a network, and what of it is the same here."""

    make: typing.Callable[[], torch.nn.Module]
    features: typing.Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]
    # What the names of left out tensors begin with.
    left_out: tuple
    # Tensors whose gradients are compared, and the first running mean.
    gradients: tuple
    running_mean: str | None = None
    stem: typing.Callable[[torch.nn.Module], torch.nn.Conv2d] | None = None
    # A name of timm's whose weights can be loaded too, and what it leaves out.
    timm: str | None = None
    timm_left_out: tuple = ()

    def body(self, net, left_out):
        return {
            name: tensor
            for name, tensor in net.state_dict().items()
            if not name.startswith(left_out) and not name.endswith("num_batches_tracked")
        }


def resnet_features(net, x):
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def features_part(net, x):
    return net.features(x)


def efficientnet(name):
    return Reference(
        make=lambda: getattr(torchvision.models, name)(stochastic_depth_prob=0.0),
        features=features_part,
        left_out=("classifier.",),
        gradients=("features.0.0.weight", "features.2.0.block.2.fc1.bias", "features.4.1.block.1.1.weight", "features.8.0.weight"),
        running_mean="features.0.1.running_mean",
        stem=lambda net: net.features[0][0],
        timm=name,
        timm_left_out=("classifier.",),
    )


def without_squeeze(name):
    """EfficientNet-Lite0 is B0 without squeeze and excitation, and with ReLU6."""

    def make():
        net = torchvision.models.efficientnet_b0(stochastic_depth_prob=0.0)
        for module in list(net.modules()):
            for part, child in list(module.named_children()):
                if isinstance(child, torch.nn.SiLU):
                    setattr(module, part, torch.nn.ReLU6())
            if isinstance(module, MBConv):
                kept = [part for part in module.block if not isinstance(part, SqueezeExcitation)]
                module.block = torch.nn.Sequential(*kept)
        return net

    return dataclasses.replace(
        efficientnet("efficientnet_b0"),
        make=make,
        gradients=("features.0.0.weight", "features.4.1.block.1.1.weight", "features.8.0.weight"),
        timm=name,
    )


def resnet(name):
    return Reference(
        make=getattr(torchvision.models, name),
        features=resnet_features,
        left_out=("fc.",),
        gradients=("conv1.weight", "layer1.1.bn2.bias", "layer3.0.downsample.0.weight", "layer4.1.conv2.weight"),
        running_mean="bn1.running_mean",
        stem=lambda net: net.conv1,
        timm=name,
        timm_left_out=("fc.",),
    )


def vit(name):
    return Reference(
        make=lambda: timm.create_model(name, img_size=SIZE, class_token=False, global_pool="avg", fc_norm=False),
        features=lambda net, x: net.forward_features(x).transpose(1, 2).unflatten(2, (SIZE // 16, SIZE // 16)),
        left_out=("head.",),
        gradients=("pos_embed", "patch_embed.proj.weight", "blocks.5.attn.qkv.weight", "blocks.11.mlp.fc1.bias", "norm.weight"),
    )


NETWORKS = {
    "mobilenet_v3_small": Reference(
        make=torchvision.models.mobilenet_v3_small,
        features=features_part,
        left_out=("classifier.",),
        gradients=("features.0.0.weight", "features.1.block.1.fc1.bias", "features.4.block.1.1.weight", "features.12.0.weight"),
        running_mean="features.0.1.running_mean",
        stem=lambda net: net.features[0][0],
        timm="mobilenetv3_small_100",
        timm_left_out=("conv_head.", "classifier."),
    ),
    "efficientnet_b0": efficientnet("efficientnet_b0"),
    "efficientnet_b4": efficientnet("efficientnet_b4"),
    "efficientnet_lite0": without_squeeze("efficientnet_lite0"),
    "resnet18": resnet("resnet18"),
    "resnet50": resnet("resnet50"),
    "vgg16": Reference(
        make=torchvision.models.vgg16,
        features=features_part,
        left_out=("classifier.",),
        gradients=("features.0.weight", "features.10.bias", "features.28.weight"),
        timm="vgg16",
        timm_left_out=("pre_logits.", "head."),
    ),
    "vgg16_bn": Reference(
        make=torchvision.models.vgg16_bn,
        features=features_part,
        left_out=("classifier.",),
        gradients=("features.0.weight", "features.15.bias", "features.40.weight"),
        running_mean="features.1.running_mean",
        timm="vgg16_bn",
        timm_left_out=("pre_logits.", "head."),
    ),
    "xception": Reference(
        make=lambda: timm.create_model("legacy_xception"),
        features=lambda net, x: net.forward_features(x),
        left_out=("fc.",),
        gradients=("conv1.weight", "block3.skip.weight", "block8.rep.4.conv1.weight", "block12.rep.5.bias", "conv4.pointwise.weight"),
        running_mean="bn1.running_mean",
        stem=lambda net: net.conv1,
    ),
    "f3net": Reference(
        make=lambda: f3net.F3Net(SIZE),
        features=lambda net, x: net.features(x),
        left_out=("fc.",),
        gradients=(
            "FAD_head.filters.2.learnable",
            "LFS_head.learnable",
            "FAD_xcep.conv1.weight",
            "LFS_xcep.block5.rep.1.pointwise.weight",
            "mix_block7.LFS_query.weight",
        ),
        running_mean="LFS_xcep.bn1.running_mean",
    ),
    "vit_small": vit("vit_small_patch16_224"),
    "vit_base": vit("vit_base_patch16_224"),
}


def picture():
    values = numbers(2 * 3 * SIZE * SIZE, 999) * 4
    return torch.from_numpy(values.astype(np.float32)).view(2, 3, SIZE, SIZE)


def golden(reference):
    net = reference.make()
    body = reference.body(net, reference.left_out)
    parameters = dict(net.named_parameters())
    out = {
        "parameters_with_1000_classes": sum(p.numel() for p in parameters.values()),
        "parameters_left_out": sum(p.numel() for n, p in parameters.items() if n.startswith(reference.left_out)),
        "names_sha256": names_digest(body),
        "size": SIZE,
    }
    with torch.no_grad():
        fill(body)
    net.eval()
    with torch.no_grad():
        features = reference.features(net, picture())
        out["features_shape"] = list(features.shape)
        out["channel"] = int(features.std((0, 2, 3)).argmax())
        out["features_of_channel"] = rounded(features[:, out["channel"]])
        out["pooled"] = some(features.mean((2, 3)))
        if reference.stem:
            stem = reference.stem(net)
            published, stem.stride = stem.stride, (1, 1)
            out["pooled_stem_stride_1"] = some(reference.features(net, picture()).mean((2, 3)))
            stem.stride = published
    # Batch statistics, gradients, running statistics.
    net.train()
    pooled = reference.features(net, picture()).mean((2, 3))
    out["pooled_in_training"] = some(pooled)
    (pooled * torch.from_numpy(numbers(pooled.numel(), 1000).astype(np.float32)).view(pooled.shape)).sum().backward()
    out["gradient_norms"] = {name: float(parameters[name].grad.norm()) for name in reference.gradients}
    if reference.running_mean:
        out["running_mean"] = reference.running_mean
        out["running_mean_after"] = rounded(net.state_dict()[reference.running_mean])
    if reference.timm:
        other = timm.create_model(reference.timm, pretrained=False).eval()
        body = reference.body(other, reference.timm_left_out)
        with torch.no_grad():
            fill(body)
            pooled = other.forward_features(picture()).mean((2, 3))
        named = names_and_shapes(body)
        same = names_digest(body) == out["names_sha256"]
        out["timm"] = {"name": reference.timm, "pooled": some(pooled), "tensors": None if same else named}
    return out


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent / "networks"
    for name in sys.argv[1:] or NETWORKS:
        values = golden(NETWORKS[name])
        (folder / f"{name}.json").write_text(json.dumps(values, indent=None) + "\n")


if __name__ == "__main__":
    main()
