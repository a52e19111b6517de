"""What `steps.rs` measures beside: the same training steps by PyTorch.

Started with a safetensors file (weights, `input`, `labels`), the name of the network and a number of threads. Says `ready LOSS` with the
loss of the first step, then, for every number of steps on its standard input, how many seconds they took.
"""

import sys
import time

import torch
import torchvision
from safetensors.torch import load_file

RATE, DECAY, CLIP, SMOOTHING, EMA = 1e-4, 0.02, 5.0, 0.1, 0.998


class Network(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        if name == "mobilenet_v3_small":
            self.features = torchvision.models.mobilenet_v3_small().features
            channels = 576
        else:
            net = torchvision.models.resnet18()
            net.avgpool = net.fc = torch.nn.Identity()
            for child, module in net.named_children():
                self.add_module(child, module)
            channels = 512
        self.resnet = name != "mobilenet_v3_small"
        self.classifier = torch.nn.Linear(channels, 2)

    def forward(self, x):
        if self.resnet:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        else:
            x = self.features(x)
        return self.classifier(x.mean((2, 3)))


def main():
    path, name, threads = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    tensors = load_file(path)
    batch = tensors.pop("input").contiguous(memory_format=torch.channels_last)
    labels = tensors.pop("labels").long()
    net = Network(name).train()
    state = net.state_dict()
    loaded = {k: v for k, v in tensors.items() if k in state}
    wanted = {k for k in state if not k.endswith("num_batches_tracked")}
    assert set(loaded) == wanted == set(tensors), set(loaded) ^ wanted
    with torch.no_grad():
        for key, value in loaded.items():
            state[key].copy_(value)
    parameters = list(net.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, fused=True)
    source = [t for t in {id(t): t for t in net.state_dict().values()}.values() if t.is_floating_point()]
    average = [t.clone() for t in source]

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(batch), labels, label_smoothing=SMOOTHING)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, source, 1 - EMA)
        return loss.item()

    print("ready", step(), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


main()
