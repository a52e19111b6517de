#!/usr/bin/env python3
"""How often real faces are called fake: a table in Markdown, a row a video, of records of videos that are known to be real.

    pipelines/batch.sh REAL_VIDEOS OUT && pipelines/false_alarms.py OUT

Takes records, or folders with them (as batch.sh leaves them). A face is a track that was scored in at least --frames frames; it is a false
alarm when its verdict was `fake` in any of them. Intervals are those of Clopper and Pearson (1934), 95 %: they hold for
faces that have nothing to do with each other, which those of one video do not quite.
"""

import argparse
import json
import math
import pathlib
import sys


def tail(successes, trials, share):
    """The chance of at least so many successes."""
    return sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes, trials + 1))


def interval(successes, trials, level=0.95):
    """The exact interval of a share, of Clopper and Pearson."""
    alpha = (1 - level) / 2

    def crossing(rises):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        return (low + high) / 2

    if trials == 0:
        return 0.0, 1.0
    least = 0.0 if successes == 0 else crossing(lambda p: tail(successes, trials, p) >= alpha)
    most = 1.0 if successes == trials else crossing(lambda p: 1 - tail(successes + 1, trials, p) <= alpha)
    return least, most


class Tracks:
    """The faces of one video."""

    def __init__(self):
        self.scored = {}
        self.alarmed = set()

    def add(self, record):
        for face in record["faces"] or []:
            if face.get("score") is not None:
                self.scored[face["track"]] = self.scored.get(face["track"], 0) + 1
                if face["verdict"] == "fake":
                    self.alarmed.add(face["track"])

    def count(self, frames):
        """Faces, and those of them that were called fake."""
        faces = {track for track, scored in self.scored.items() if scored >= frames}
        return len(faces), len(faces & self.alarmed)


def records(paths):
    """Each file of records, by its name in the table."""
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            files = sorted(path.rglob("*.jsonl"))
            if not files:
                sys.exit(f"error: no records (*.jsonl) in {path}")
            base = path / "files" if (path / "files").is_dir() else path
            yield from ((str(file.relative_to(base)).removesuffix(".jsonl"), file) for file in files)
        else:
            yield path.name.removesuffix(".jsonl"), path


def read(file):
    tracks = Tracks()
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                tracks.add(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                sys.exit(f"error: {file}, line {number} is no record: {problem!r}")
    return tracks


def row(name, faces, called):
    least, most = interval(called, faces)
    share = f"{called / faces:.3f} [{least:.3f}, {most:.3f}]" if faces else "-"
    return f"| {name} | {faces} | {called} | {share} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", metavar="RECORDS", help="a file, or a folder that is searched for *.jsonl")
    parser.add_argument("--frames", type=int, default=5, metavar="N", help="frames that a face was scored in at least (default 5)")
    options = parser.parse_args()
    print("| video | faces | called fake | share |\n| --- | --- | --- | --- |")
    total = [0, 0]
    try:
        for name, file in records(options.records):
            counts = read(file).count(options.frames)
            total = [t + c for t, c in zip(total, counts)]
            print(row(name, *counts))
    except OSError as error:
        sys.exit(f"error: {error}")
    print(row("all", *total))


if __name__ == "__main__":
    main()
