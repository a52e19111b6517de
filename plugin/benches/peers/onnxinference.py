"""The same model on whole 1080p frames by `onnxinference` and by `deepfakescore`, in turns: onnxinference.py MODEL FRAMES.

`tests/bench-onnxinference.sh` calls it where both elements are. Both decide from the same frames in NV12, which a still picture gives for
nothing; `onnxinference` is given what it takes, RGB of the model's size, by `videoconvertscale`. Each works as it does when nothing is said:
`onnxinference` with a thread a core, which cannot be changed, `deepfakescore` with one. Prints one row of a table.
"""

import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 7
SIDE = 192

# What onnxinference has to be told beside the model: ranges are those of (value / 255 - mean) / std.
INFO = """[modelinfo]
version=1.0
group-id=deepfake-scorer

[input]
id=deepfake-scorer-input
type=float32
dims=-1,3,192,192
dir=input
ranges=-2.117904,2.248908;-2.035714,2.428571;-1.804444,2.64

[logit]
id=deepfake-scorer-logit
type=float32
dims=-1
dir=output

[map]
id=deepfake-scorer-map
type=float32
dims=-1,6,6
dir=output
"""


def timed(elements, frames):
    """CPU seconds and seconds of a pipeline over so many frames."""
    source = "videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=1920,height=1080,framerate=60/1"
    line = f"gst-launch-1.0 -q {source} ! imagefreeze num-buffers={frames} ! {elements} ! fakesink"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(line.split(), check=True)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def a_frame(elements, frames):
    """CPU milliseconds and milliseconds of a frame, without what starting costs."""
    (few_cpu, few), (cpu, seconds) = timed(elements, 1), timed(elements, frames + 1)
    return 1000 * (cpu - few_cpu) / frames, 1000 * (seconds - few) / frames


def main(model, frames):
    with tempfile.TemporaryDirectory() as folder:
        theirs = pathlib.Path(folder, "scorer.onnx")
        theirs.write_bytes(pathlib.Path(model).read_bytes())
        pathlib.Path(f"{theirs}.modelinfo").write_text(INFO)
        peer = (
            f"videoconvertscale ! video/x-raw,format=RGB,width={SIDE},height={SIDE} "
            f"! onnxinference model-file={theirs} optimization-level=enable-all"
        )
        ours = f"deepfakescore mode=every-frame face-source=frame model={model}"
        rounds = [(a_frame(ours, frames), a_frame(peer, frames)) for _ in range(ROUNDS)]
    own, other = (tuple(statistics.median(r[who][k] for r in rounds) for k in (0, 1)) for who in (0, 1))
    ratio = statistics.median(r[1][0] / r[0][0] for r in rounds)
    print(
        f"| whole 1080p NV12 frames, the bundled scorer, beside `videoconvertscale ! onnxinference` of GStreamer 1.28: CPU time of a frame "
        f"(medians of {ROUNDS} x {frames}, in turns) | {own[0]:.2f} ms beside {other[0]:.2f} ms: 1/{ratio:.2f}; by the clock {own[1]:.2f} ms on "
        f"one thread beside {other[1]:.2f} ms on {os.cpu_count()} | the nearest peer |"
    )


main(sys.argv[1], int(sys.argv[2]))
