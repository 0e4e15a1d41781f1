"""Amazon reviews as texts, words by TF-IDF in a sparse matrix: adaptation and weighting against source alone.

Sentiment across departments, 12 pairs: 500 labelled source reviews, 500 target reviews without labels (for TrAdaBoost
and what it is compared with, 50 more that have one), scored on 1000 others of the target. Results of each pair are
kept in a file, so that a run that was cut off goes on. Run ``python benchmarks/accuracy/amazon_reviews_tfidf.py``; it
writes amazon_reviews_tfidf.md beside itself.
"""

import argparse
import gzip
import json
import resource
import time
import warnings
from pathlib import Path

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DomainStandardizer,
    FeatureAugmentationAdapter,
    KMMWeighter,
    MMDAdapter,
    SubspaceAlignmentAdapter,
    TrAdaBoostClassifier,
    pack_domains,
)

DOMAINS = ("books", "dvd", "electronics", "kitchen")
TASKS = [(source, target) for source in DOMAINS for target in DOMAINS if source != target]
N_SOURCE, N_TARGET, N_LABELLED, N_TEST, SEEDS = 500, 500, 50, 1000, (0, 1, 2)


def linear() -> LogisticRegression:
    return LogisticRegression(C=10.0, max_iter=1000)


def reduced(adapter) -> AdaptedClassifier:
    return AdaptedClassifier(linear(), make_pipeline(TruncatedSVD(100, random_state=0), adapter))


def unchanged() -> DomainStandardizer:
    return DomainStandardizer(with_mean=False, with_std=False)


# Covariances of such rows are of the order of 1e-5: a ridge of 1, which is for standardised features, changes nothing.
CORAL = {"reg": 0.0, "shrinkage": "auto"}
UNLABELLED = {
    "source alone": lambda: AdaptedClassifier(linear(), unchanged()),
    "CORAL": lambda: AdaptedClassifier(linear(), CORALAdapter(**CORAL)),
    "DomainStandardizer(with_mean=False)": lambda: AdaptedClassifier(linear(), DomainStandardizer(with_mean=False)),
    "KMM, linear kernel, B = 10": lambda: AdaptedClassifier(linear(), KMMWeighter(kernel="linear", B=10.0, eps=0.1)),
    "TruncatedSVD(100), source alone": lambda: reduced(unchanged()),
    "TruncatedSVD(100), CORAL": lambda: reduced(CORALAdapter(**CORAL)),
    "TCA, 100 components": lambda: AdaptedClassifier(linear(), MMDAdapter(100)),
    "subspace alignment, 100 dimensions": lambda: AdaptedClassifier(linear(), SubspaceAlignmentAdapter(100)),
}
LABELLED = {
    "source and 50 labelled": lambda: AdaptedClassifier(linear(), unchanged(), use_target_labels=True),
    "EasyAdapt (FeatureAugmentationAdapter)": lambda: AdaptedClassifier(
        linear(), FeatureAugmentationAdapter(), use_target_labels=True
    ),
    "TrAdaBoost": lambda: TrAdaBoostClassifier(
        LogisticRegression(max_iter=1000), n_estimators=20, target_share=0.3, random_state=0
    ),
}
ALONE = "50 labelled alone"


def load(name: str) -> tuple[list[str], np.ndarray]:
    file = data_folder() / "data" / "amazon_reviews_text" / f"{name}.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf8") as lines:
        rows = [json.loads(line) for line in lines]
    return [f"{row['title']}. {row['text']}" for row in rows], np.array([row["label"] for row in rows])


def run(source: str, target: str, seed: int) -> dict:
    """Return accuracy in percent and seconds of each method, the number of words, and the memory taken so far (GiB)."""
    rng = np.random.default_rng(seed)
    (texts_s, ys), (texts_t, yt) = load(source), load(target)
    own, others = rng.permutation(len(ys))[:N_SOURCE], rng.permutation(len(yt))
    known = np.concatenate([others[yt[others] == label][: N_LABELLED // 2] for label in np.unique(yt)])
    others = others[~np.isin(others, known)]
    bare, test = others[:N_TARGET], others[N_TARGET : N_TARGET + N_TEST]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=20_000)
    vectorizer.fit([texts_s[i] for i in own] + [texts_t[i] for i in (*bare, *known)])
    Xs, Xb, Xk, X_test = (
        vectorizer.transform([texts[i] for i in rows])
        for texts, rows in ((texts_s, own), (texts_t, bare), (texts_t, known), (texts_t, test))
    )
    plain = pack_domains(source=(Xs, ys[own]), target=Xb)
    partly = pack_domains(
        source=(Xs, ys[own]), target=(sparse.vstack([Xb, Xk]), [None] * len(bare) + yt[known].tolist())
    )
    found = {"features": Xs.shape[1]}
    for name, make in {**UNLABELLED, **LABELLED, ALONE: None}.items():
        start, model = time.perf_counter(), None
        if make is None:
            model = linear().fit(Xk, yt[known])
        else:
            X, y, sample_domain = partly if name in LABELLED else plain
            model = make().fit(X, y, sample_domain=sample_domain)
        found[name] = 100 * float(np.mean(model.predict(X_test) == yt[test])), time.perf_counter() - start
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def collect(kept: Path) -> dict:
    """Run what is not in the file yet."""
    done = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in SEEDS:
        for source, target in TASKS:
            key = f"{source} {target} {seed}"
            if key not in done:
                done[key] = run(source, target, seed)
                kept.write_text(json.dumps(done))
                print(key, {name: round(value[0], 1) for name, value in done[key].items() if isinstance(value, tuple)})
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, default=Path("amazon_reviews_tfidf.json"), help="results so far")
    warnings.simplefilter("ignore")
    done = collect(parser.parse_args().kept)
    table = []
    for name in (*UNLABELLED, *LABELLED, ALONE):
        of_task = [np.mean([done[f"{s} {t} {seed}"][name][0] for seed in SEEDS]) for s, t in TASKS]
        of_seed = [np.mean([done[f"{s} {t} {seed}"][name][0] for s, t in TASKS]) for seed in SEEDS]
        seconds = np.median([result[name][1] for result in done.values()])
        mean = f"{np.mean(of_task):.1f} ± {np.std(of_seed, ddof=1):.1f}"
        table.append([name, *map(float, of_task), mean, f"{seconds:.2f}"])
    header = ["method", *(f"{s[0].upper()}→{t[0].upper()}" for s, t in TASKS), "mean", "s a task"]
    widths = [result["features"] for result in done.values()]
    memory = max(result["memory"] for result in done.values())
    text = f"""# Amazon reviews, TF-IDF in a sparse matrix: target accuracy in percent

{provenance("scikit-learn", "numpy", "scipy")}

{markdown_table(header, table)}

Sentiment across departments (books, dvd, electronics, kitchen): {N_SOURCE} labelled source reviews, {N_TARGET} target
reviews without labels, scored on {N_TEST} others; the last {len(LABELLED) + 1} rows have {N_LABELLED} labelled target
reviews besides, of both classes alike. {len(SEEDS)} draws; ± is the deviation of the mean over draws. Words and pairs
of words that two of these reviews have, {min(widths)} to {max(widths)} of them, by TF-IDF; logistic regression,
C = 10 (in TrAdaBoost 1). Seconds are of fit and predict, of one thread; the run took {memory:.1f} GiB at most.
"""
    publish("amazon_reviews_tfidf", text)


if __name__ == "__main__":
    main()
