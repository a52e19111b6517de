"""Golden values of the metrics, by scikit-learn: `python3 metrics.py > metrics.json`."""

import json

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score, roc_curve


def eer(labels, scores):
    """Where the ROC curve crosses the line from (0, 1) to (1, 0), linear between its points."""
    false_positives, true_positives, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = 1 - true_positives - false_positives
    at = int(np.argmax(gap <= 0))
    t = gap[at - 1] / (gap[at - 1] - gap[at])
    return false_positives[at - 1] + t * (false_positives[at] - false_positives[at - 1])


def calibration_error(labels, probabilities, bins):
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, probabilities, side="right") - 1, 0, bins - 1)
    error = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            error += inside.mean() * abs(probabilities[inside].mean() - labels[inside].mean())
    return error


def case(name, labels, logits):
    labels, logits = np.array(labels), np.array(logits, dtype=np.float64)
    probabilities = 1 / (1 + np.exp(-logits))
    return {
        "name": name,
        "fake": [bool(v) for v in labels],
        "logits": list(logits),
        "auc": roc_auc_score(labels, logits),
        "eer": eer(labels, logits),
        "average_precision": average_precision_score(labels, logits),
        "accuracy": accuracy_score(labels, logits >= 0),
        "calibration_error": calibration_error(labels, probabilities, 15),
        "log_loss": log_loss(labels, probabilities),
    }


def resampled(name, labels, logits, sources, drawn):
    """The figures of a resampling: each face weighs as often as its source was drawn."""
    labels, logits, sources = np.array(labels), np.array(logits, dtype=np.float64), np.array(sources)
    weights = np.bincount(drawn, minlength=sources.max() + 1)[sources]
    repeated = np.repeat(np.arange(len(labels)), weights)
    return {
        "name": name,
        "fake": [bool(v) for v in labels],
        "logits": list(logits),
        "weights": [int(w) for w in weights],
        "auc": roc_auc_score(labels, logits, sample_weight=weights),
        "average_precision": average_precision_score(labels, logits, sample_weight=weights),
        "eer": eer(labels[repeated], logits[repeated]),
    }


def videos(name, labels, logits, of):
    """Scores of videos: the mean of their faces' logits."""
    labels, logits, of = np.array(labels), np.array(logits, dtype=np.float64), np.array(of)
    means = np.array([logits[of == v].mean() for v in range(of.max() + 1)])
    fake = np.array([labels[of == v][0] for v in range(of.max() + 1)])
    return {"faces": {"logits": list(logits), "fake": [bool(v) for v in labels], "videos": [int(v) for v in of]},
            "means": list(means), **case(name, fake, means)}


def main():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 120)
    overlapping = np.round(rng.normal(size=120) + labels, 4)
    unbalanced = (rng.random(90) < 0.1).astype(int)
    cases = [
        case("overlapping", labels, overlapping),
        case("ties", labels, np.round(overlapping)),
        case("unbalanced", unbalanced, np.round(rng.normal(size=90) + 0.5 * unbalanced, 4)),
        case("perfect", [0, 0, 0, 1, 1], [-3.0, -2.0, -1.0, 1.0, 2.0]),
        case("inverted", [0, 0, 1, 1, 1], [2.0, 1.5, -1.0, -2.0, -3.0]),
        case("all equal", [0, 1, 1], [0.5, 0.5, 0.5]),
    ]
    sources = rng.integers(0, 25, 120)
    drawn = [list(rng.integers(0, 25, 25)) for _ in range(4)]
    of = np.sort(rng.integers(0, 30, 120))
    of = np.unique(of, return_inverse=True)[1]
    of_label = rng.integers(0, 2, of.max() + 1)[of]
    noisy = np.round(rng.normal(size=120) + of_label, 4)
    golden = {
        "cases": cases,
        "resampled": [
            *(resampled(f"draw {i}", labels, overlapping, sources, d) for i, d in enumerate(drawn)),
            *(resampled(f"draw {i} with ties", labels, np.round(overlapping), sources, d) for i, d in enumerate(drawn)),
        ],
        "videos": [
            videos("several frames", of_label, noisy, of),
            videos("one frame each", [0, 1, 0, 1, 1], [0.3, -0.2, -1.0, 0.3, 2.0], range(5)),
            videos("equal means", [0, 0, 1, 1], [1.0, 3.0, 2.0, 2.0], [0, 0, 1, 1]),
        ],
    }
    print(json.dumps(golden, indent=1))


main()
