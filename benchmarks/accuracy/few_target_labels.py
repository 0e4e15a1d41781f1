"""What one to three labels a class in the target are worth beside, and against, methods that see none.

White digits on black to digits in textured colours, 400 a domain, on features of the frozen bundled network. Run
``python benchmarks/accuracy/few_target_labels.py [seeds]``; it writes few_target_labels.md beside itself.
"""

import sys

import numpy as np
from _common import markdown_table, provenance, publish
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import DeepCORALClassifier, MCCClassifier, PretrainedFeatureExtractor, make_image_domains

LABELS = (0, 1, 3)
METHODS = {
    "source alone": lambda **options: MCCClassifier(None, trade_off=0.0, **options),
    "MCC": lambda **options: MCCClassifier(None, **options),
    "DeepCORAL": lambda **options: DeepCORALClassifier(None, **options),
}


def scores_of(seed: int) -> dict[tuple[str, int], float]:
    """Accuracy in percent on the target rows whose label nobody saw."""
    X, y, domain = make_image_domains(400, 400, target="textured", random_state=seed)
    Z = StandardScaler().fit_transform(PretrainedFeatureExtractor("sktransfer_mini").fit_transform(X))
    rng = np.random.default_rng(seed)
    target = np.flatnonzero(domain == "target")
    order = [rng.permutation(target[y[target] == label]) for label in range(10)]
    hidden = np.setdiff1d(target, np.concatenate([rows[: max(LABELS)] for rows in order]))
    found = {}
    for n_labels in LABELS:
        shown = np.concatenate([rows[:n_labels] for rows in order])
        known = y.astype(float)
        known[np.setdiff1d(target, shown)] = np.nan
        if n_labels:
            alone = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(Z[shown], y[shown])
            found["target labels alone", n_labels] = 100 * alone.score(Z[hidden], y[hidden])
        for name, make in METHODS.items():
            clf = make(use_target_labels=n_labels > 0, random_state=seed)
            clf.fit(Z, known, sample_domain=domain)
            found[name, n_labels] = 100 * clf.score(Z[hidden], y[hidden])
            print(seed, name, n_labels, round(found[name, n_labels], 1), file=sys.stderr, flush=True)
    return found


def main() -> None:
    runs = [scores_of(seed) for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)]
    table = []
    for name in ("target labels alone", *METHODS):
        cells = [[run[name, n] for run in runs if (name, n) in run] for n in LABELS]
        table.append([name, *(float(np.mean(cell)) if cell else "" for cell in cells)])
    header = ["method", *(f"{n} labels a class" for n in LABELS)]
    text = f"""# A few labels of the target: accuracy in percent

{provenance("torch", "scikit-learn")}

{markdown_table(header, table)}

Means of {len(runs)} seeds, on the target rows that no method saw a label of. Features of the bundled network, frozen
and scaled over both domains; white digits on black to digits in textured colours, 400 a domain. Default parameters;
``use_target_labels=True`` where there are labels, "source alone" with a trade-off of 0.
"""
    publish("few_target_labels", text)


if __name__ == "__main__":
    main()
