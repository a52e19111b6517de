#!/usr/bin/env python3
"""Raises alarms from records, for a moderation queue: records in, one JSON line an alarm out.

    pipelines/rtsp-records.sh rtsp://HOST/PATH | pipelines/alarm.py
    pipelines/alarm.py --raise-at 0.8 --run 'curl --data-binary @- http://queue.example/cases' records.jsonl

The rule, for each face of each stream by itself, in the time of the stream:

- raised, when for --raise-after seconds the score was at least --raise-at in every record that scores the face;
- cleared, when for --clear-after seconds it was at most --clear-at, or the face was not seen for --gone-after seconds,
  or the stream began anew.

Between the two scores, and for shorter times, nothing changes: a score that trembles around a threshold raises one alarm,
not many. A face whose verdict is still open has a score, too, but raises nothing unless --any-verdict is given.
"""

import argparse
import json
import subprocess
import sys


class Face:
    """One face of a stream: whether its alarm is raised, and since when the score speaks against that."""

    def __init__(self):
        self.raised = False
        self.since = None
        self.seen = None


class Stream:
    """The faces of one stream, by their tracks."""

    def __init__(self):
        self.faces = {}
        self.now = None
        self.frame = None


class Rule:
    """When alarms are raised and cleared."""

    def __init__(self, options):
        self.o = options
        self.streams = {}

    def add(self, record):
        """The alarms that a record raises and clears."""
        stream = self.streams.setdefault(record["stream"], Stream())
        time = record["running_time"] if record["running_time"] is not None else record["pts"]
        now = stream.now if time is None else time / 1e9
        if stream.now is not None and (now < stream.now or record["frame"] <= stream.frame):
            yield from self.clear_all(stream, record, "stream-restarted")
        stream.now, stream.frame = now, record["frame"]
        if now is None:
            return
        for told in record["faces"] or []:
            face = stream.faces.setdefault(told["track"], Face())
            face.seen = now
            if told.get("score") is not None:
                yield from self.judge(face, now, record, told)
        for track, face in list(stream.faces.items()):
            if now - face.seen >= self.o.gone_after:
                del stream.faces[track]
                if face.raised:
                    yield self.alarm("cleared", record, track, face, None, "gone")

    def judge(self, face, now, record, told):
        """What one score does to the alarm of its face."""
        score = told["score"]
        if face.raised:
            against, wait = score <= self.o.clear_at, self.o.clear_after
        else:
            open_verdict = told["verdict"] == "undecided" and not self.o.any_verdict
            against, wait = score >= self.o.raise_at and not open_verdict, self.o.raise_after
        if not against:
            face.since = None
            return
        if face.since is None:
            face.since = now
        if now - face.since >= wait:
            face.raised = not face.raised
            reason = "score-high" if face.raised else "score-low"
            yield self.alarm("raised" if face.raised else "cleared", record, told["track"], face, score, reason)
            face.since = None

    def clear_all(self, stream, record, reason):
        """The stream's alarms end, and its faces are forgotten."""
        faces, stream.faces = stream.faces, {}
        for track, face in faces.items():
            if face.raised:
                yield self.alarm("cleared", record, track, face, None, reason)

    @staticmethod
    def alarm(what, record, track, face, score, reason):
        """One line of output."""
        return {
            "alarm": what,
            "reason": reason,
            "stream": record["stream"],
            "track": track,
            "score": score,
            "since": face.since,
            "frame": record["frame"],
            "pts": record["pts"],
            "utc": record["utc"],
            "model": record["model"],
        }


def arguments():
    """What the user asks for."""
    parser = argparse.ArgumentParser(
        prog="pipelines/alarm.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", nargs="?", help="file of records (default: standard input)")
    parser.add_argument("--raise-at", type=float, default=0.7, metavar="SCORE", help="default: %(default)s")
    parser.add_argument("--raise-after", type=float, default=1.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--clear-at", type=float, default=0.5, metavar="SCORE", help="default: %(default)s")
    parser.add_argument("--clear-after", type=float, default=2.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--gone-after", type=float, default=10.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--any-verdict", action="store_true", help="let faces raise alarms while their verdict is open")
    parser.add_argument("--run", metavar="COMMAND", help="also give each alarm to this shell command, on its standard input")
    options = parser.parse_args()
    if not 0 <= options.clear_at < options.raise_at <= 1:
        parser.error("--clear-at must be below --raise-at, both from 0 to 1: else there is no hysteresis")
    if min(options.raise_after, options.clear_after, options.gone_after) < 0:
        parser.error("times cannot be negative")
    return options


def main():
    """Reads records until they end."""
    options = arguments()
    rule = Rule(options)
    failures = 0
    with open(options.records, encoding="utf-8") if options.records else sys.stdin as lines:
        for number, line in enumerate(lines, 1):
            try:
                alarms = list(rule.add(json.loads(line)))
            except (ValueError, KeyError, TypeError) as problem:
                sys.exit(f"error: line {number} is no record of deepfakejson ({problem!r}): {line[:200].rstrip()}")
            for alarm in alarms:
                text = json.dumps(alarm)
                print(text, flush=True)
                if options.run and subprocess.run(options.run, shell=True, input=text + "\n", text=True).returncode:
                    print(f"error: the command of --run failed for this alarm: {text}", file=sys.stderr)
                    failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(130)
    except OSError as problem:
        sys.exit(f"error: {problem}")
