"""Golden steps of training by PyTorch: `python3 learner.py > learner.json`.

A MobileNetV3-small of quarter width whose weights are a function of their names (as in `networks.py`) learns one batch
for some steps, by AdamW, by Adam and by SAM around AdamW.
"""

import json

import numpy as np
import torch
import torchvision

from networks import fill, numbers

STEPS = 4
CLIP = 2.0
RATE = 0.001
RHO = 0.05
DECAY = 0.05
EMA = 0.9
SMOOTHING = 0.1
TOLD = ["features.0.0.weight", "features.4.block.2.fc1.bias", "features.12.1.weight", "classifier.weight", "classifier.bias"]


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        body = torchvision.models.mobilenet_v3_small(width_mult=0.25)
        self.features = body.features
        self.classifier = torch.nn.Linear(body.classifier[0].in_features, 2)
        with torch.no_grad():
            fill(self.state_dict())

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def norms(net):
    return [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def learn(method):
    net = Network().train()
    batch = torch.from_numpy((numbers(8 * 3 * 64 * 64, 999) * 4).astype(np.float32)).view(8, 3, 64, 64)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    # Decay is for kernels and matrices only.
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if method == "adam" else torch.optim.AdamW
    optimizer = kind(groups, lr=RATE)
    average = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    losses, gradient_norms = [], []

    def backward():
        loss = torch.nn.functional.cross_entropy(net(batch), labels, label_smoothing=SMOOTHING)
        loss.backward()
        return loss.item()

    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        losses.append(backward())
        if method == "sam":
            with torch.no_grad():
                norm = torch.norm(torch.stack([p.grad.norm() for p in net.parameters()]))
                before = [p.clone() for p in net.parameters()]
                for p in net.parameters():
                    p.add_(p.grad * (RHO / (norm + 1e-12)))
            optimizer.zero_grad()
            momenta = [m.momentum for m in norms(net)]
            for m in norms(net):
                m.momentum = 0.0
            backward()
            for m, momentum in zip(norms(net), momenta):
                m.momentum = momentum
            with torch.no_grad():
                for p, b in zip(net.parameters(), before):
                    p.copy_(b)
        gradient_norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP).item())
        optimizer.step()
        decay = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                if tensor.is_floating_point():
                    average[name].lerp_(tensor, 1 - decay)
    state = net.state_dict()
    rounded = lambda t: [float(f"{v:.8g}") for v in t.double().flatten().tolist()[:40]]
    return {
        "losses": losses,
        "gradient_norms": gradient_norms,
        "weights": {name: rounded(state[name]) for name in TOLD},
        "average": {name: rounded(average[name]) for name in TOLD},
        "running_mean": rounded(state["features.0.1.running_mean"]),
        "running_var": rounded(state["features.3.block.1.1.running_var"]),
    }


torch.set_num_threads(1)
print(json.dumps({method: learn(method) for method in ["adamw", "adam", "sam"]}))
