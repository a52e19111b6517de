"""Position embeddings on other grids, by timm: `python3 position.py > position.json`."""

import json

import numpy as np
import torch
from timm.layers import resample_abs_pos_embed

from networks import numbers


def main():
    table = torch.from_numpy(numbers(16 * 3, 5).astype(np.float32)).view(1, 16, 3)
    cases = []
    for rows, columns in [(2, 2), (3, 3), (4, 4), (6, 6), (3, 5)]:
        values = resample_abs_pos_embed(table, [rows, columns], num_prefix_tokens=0)
        cases.append({"rows": rows, "columns": columns, "values": [float(f"{v:.8g}") for v in values.flatten().tolist()]})
    print(json.dumps(cases))


main()
