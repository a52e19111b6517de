"""Weights of EfficientNet-Lite0 (a file of PyTorch from before its zip format, TensorFlow's numbers under efficientnet-pytorch's names) as
safetensors under timm's names: convert.py IN.pth OUT.safetensors. Of what the file holds, nothing but tensors is made."""

import array
import collections
import io
import itertools
import json
import pickle
import sys

# Blocks of each stage.
STAGES = (1, 2, 2, 3, 3, 4, 1)
# TensorFlow adds more to variances than PyTorch's networks do; what a norm does stays the same with the difference in the variance.
EPS_MORE = 1e-3 - 1e-5
# Codes of `array` for the numbers of a storage.
KINDS = {"FloatStorage": "f", "LongStorage": "q"}


class Reader(pickle.Unpickler):
    """Knows tensors, and nothing that could run."""

    def __init__(self, data, storages):
        super().__init__(data)
        self.storages = storages

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
        if module == "torch" and name in KINDS:
            return name
        raise pickle.UnpicklingError(f"holds a {module}.{name}, which is no tensor")

    def persistent_load(self, found):
        _, kind, key, _, count, _ = found
        self.storages[key] = (kind, count)
        return key


def tensors(data):
    """Names, shapes and numbers, row by row."""
    storages = {}
    for _ in ("magic", "version", "system"):
        Reader(data, storages).load()
    found = Reader(data, storages).load()
    values = {}
    for key in Reader(data, storages).load():
        kind, count = storages[key]
        if int.from_bytes(data.read(8), "little") != count:
            raise ValueError("a storage is not as long as it should be")
        values[key] = array.array(KINDS[kind])
        values[key].frombytes(data.read(count * values[key].itemsize))
    for name, (key, offset, size, stride) in found.items():
        steps = [range(offset, offset + 1)]
        steps += [range(0, length * step, step) for length, step in zip(size, stride)]
        yield name, size, array.array(values[key].typecode, (values[key][sum(at)] for at in itertools.product(*steps)))


def timm(name):
    """The name that timm has for it."""
    first, _, rest = name.partition(".")
    if first == "_blocks":
        number, part, what = rest.split(".", 2)
        stage, number = 0, int(number)
        expands = number > 0
        while number >= STAGES[stage]:
            number -= STAGES[stage]
            stage += 1
        before = 0 if expands else -1
        parts = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": f"bn{2 + before}",
            "_project_conv": "conv_pwl" if expands else "conv_pw",
            "_bn2": f"bn{3 + before}",
        }
        return f"blocks.{stage}.{number}.{parts[part]}.{what}"
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    return f"{names[first]}.{rest}"


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        data = io.BytesIO(file.read())
    header, body, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, size, values in tensors(data):
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = array.array("f", (value + EPS_MORE for value in values))
        body.append(values.tobytes())
        header[timm(name)] = {"dtype": "F32", "shape": list(size), "data_offsets": [at, at + len(body[-1])]}
        at += len(body[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(body))


main()
