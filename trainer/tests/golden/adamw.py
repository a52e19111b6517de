"""Golden values of AdamW, by PyTorch: `python3 adamw.py > adamw.json`."""

import json

import numpy as np
import torch

from networks import numbers, rounded


def drawn(salt):
    return torch.from_numpy(numbers(12, salt).astype(np.float32)).view(3, 4)


weight = torch.nn.Parameter(drawn(1001))
adam = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05)
for step in range(5):
    weight.grad = drawn(2000 + step)
    adam.step()
print(json.dumps({"adamw": rounded(weight)}))
