#!/usr/bin/python3
"""Prints what deepfakescore attached to each frame, read through GObject introspection.

    scores.py 'filesrc location=VIDEO ! decodebin ! deepfakescore'

Debian packages: python3-gi and gir1.2-gst-plugins-base-1.0. The fields are described in plugin/src/meta/mod.rs.
"""

import sys
import warnings

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstVideo

# What GStreamer gives for an array is deprecated in GLib, not in GStreamer.
warnings.filterwarnings("ignore", message="GObject.ValueArray")


def array(structure, field):
    """The elements of an array: numbers, or structures as dicts."""
    found, values = [], structure.get_array(field)[1]
    for i in range(values.n_values):
        # Structures are gone with the array they are in, so they are read while it is there.
        value = values.get_nth(i)
        found.append(fields(value) if isinstance(value, Gst.Structure) else value)
    return found


def fields(structure):
    """A structure as a dict."""
    found = {}
    for i in range(structure.n_fields()):
        name = structure.nth_field_name(i)
        is_array = structure.get_field_type(name).name == "GstValueArray"
        found[name] = array(structure, name) if is_array else structure.get_value(name)
    return found


def scores(buffer):
    """What is known about a frame, None where it was not looked at. Each face has a "box" unless its place is not known."""
    meta = buffer.get_custom_meta("DeepfakeScoresMeta")
    if meta is None:
        return None
    result = fields(meta.get_structure())
    if result["version"] != 1:
        return None
    meta = buffer.get_custom_meta("DeepfakeBoxesMeta")
    boxes = fields(meta.get_structure()) if meta is not None else {"frame": None}
    cropped = buffer.get_meta(GstVideo.video_crop_meta_api_get_type()) is not None
    if boxes["frame"] == result["frame"] and not cropped:
        for face, box in zip(result["faces"], boxes["boxes"], strict=True):
            if "x" in box:
                face["box"] = box
    return result


def show(result):
    if result is None:
        print("no scores")
        return
    print("frame %d: %d faces, by %s" % (result["frame"], len(result["faces"]), result["model-name"]))
    for face in result["faces"]:
        line = "  track %d %s" % (face["track"], face["verdict"])
        if "not-scored" in face:
            line += " not scored: " + face["not-scored"]
        else:
            line += " score %.4f logit %.4f" % (face["score"], face["logit"])
            if "map" in face:
                mean = sum(face["map"]) / len(face["map"])
                line += " map %dx%d mean %.4f" % (face["map-width"], face["map-height"], mean)
        if "box" in face:
            line += " at %.4f,%.4f %.4fx%.4f" % tuple(face["box"][side] for side in "xywh")
        print(line)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Gst.init(None)
    try:
        pipeline = Gst.parse_launch(sys.argv[1] + " ! appsink name=out sync=false max-buffers=2")
    except GLib.Error as problem:
        sys.exit(problem.message)
    out, bus = pipeline.get_by_name("out"), pipeline.get_bus()
    pipeline.set_state(Gst.State.PLAYING)
    error = None
    # A second at a time, so that an error before the first frame is seen.
    while error is None and not out.get_property("eos"):
        sample = out.emit("try-pull-sample", Gst.SECOND)
        if sample is not None:
            show(scores(sample.get_buffer()))
        error = bus.pop_filtered(Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if error is not None:
        sys.exit(error.parse_error()[0].message)


if __name__ == "__main__":
    main()
