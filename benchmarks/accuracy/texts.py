"""Reviews as texts: departments of few labels, sentiment by fine-tuning, sentiment across departments.

all-MiniLM-L6-v2 and the bundled ``text:sktransfer_mini`` beside TF-IDF, on Amazon reviews (books, dvd, electronics,
kitchen). Results are kept in a file, so that a run that was cut off goes on. Run
``python benchmarks/accuracy/texts.py``; it writes texts.md beside itself.
"""

import argparse
import functools
import gzip
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sktransfer import (
    AdaptedClassifier,
    CORALAdapter,
    DomainStandardizer,
    FineTunedClassifier,
    PretrainedFeatureExtractor,
    TextBackbone,
    pack_domains,
)

DOMAINS = ("books", "dvd", "electronics", "kitchen")
PAIRS = [(source, target) for source in DOMAINS for target in DOMAINS if source != target]
N_TEXTS, TOKENS, SEEDS = 500, 96, (0, 1, 2)
N_LABELS, N_TEST = 160, 1000


def linear(C: float = 10.0) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=3000)


@functools.cache
def load(name: str) -> tuple[list[str], np.ndarray]:
    """Titles and texts of a department in one order, mixed, and whether they praise."""
    file = data_folder() / "data" / "amazon_reviews_text" / f"{name}.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf8") as lines:
        rows = [json.loads(line) for line in lines]
    order = np.random.default_rng(0).permutation(len(rows))
    return [f"{rows[i]['title']}. {rows[i]['text']}" for i in order], np.array([rows[i]["label"] for i in order])


def backbones() -> dict[str, TextBackbone]:
    folder = data_folder() / "weights" / "all-MiniLM-L6-v2"
    return {
        "MiniLM": TextBackbone(folder, max_length=TOKENS),
        "sktransfer_mini": TextBackbone("sktransfer_mini", max_length=TOKENS),
    }


def features(texts: list[str]) -> dict[str, np.ndarray]:
    made = {name: PretrainedFeatureExtractor(b, n_jobs=1).fit_transform(texts) for name, b in backbones().items()}
    return {**made, "TF-IDF": TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)}


def departments() -> dict[str, float]:
    """Accuracy in percent of which department, by labels a class."""
    texts = [text for name in DOMAINS for text in load(name)[0][:N_TEXTS]]
    y = np.repeat(DOMAINS, N_TEXTS)
    found = {}
    for kind, Z in features(texts).items():
        for n in (1, 5, 20):
            scores = []
            for seed in range(10):
                rng = np.random.default_rng(seed)
                train = np.concatenate([rng.permutation(np.flatnonzero(y == name))[:n] for name in DOMAINS])
                test = np.setdiff1d(np.arange(len(y)), train)
                scores.append(linear().fit(Z[train], y[train]).score(Z[test], y[test]))
            found[f"{kind} {n}"] = 100 * float(np.mean(scores))
    return found


TUNED = {
    "whole": {"trainable": "all", "lr": 5e-5, "max_epochs": 4, "batch_size": 16},
}


def sentiment(name: str, seed: int, way: str) -> tuple[float, float]:
    """Accuracy in percent on a department's reviews, 160 labelled, and seconds."""
    texts, y = load(name)
    rows = np.random.default_rng(seed).permutation(len(texts))
    train, test = rows[:N_LABELS], rows[N_LABELS : N_LABELS + N_TEST]
    told, asked = [texts[i] for i in train], [texts[i] for i in test]
    start = time.perf_counter()
    if way in TUNED:
        model = FineTunedClassifier(backbones()["MiniLM"], random_state=seed, n_jobs=1, **TUNED[way]).fit(
            told, y[train]
        )
        return 100 * float(model.score(asked, y[test])), time.perf_counter() - start
    if way == "TF-IDF":
        words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        Z, Z_test = words.fit_transform(told), words.transform(asked)
    else:
        extractor = PretrainedFeatureExtractor(backbones()[way], n_jobs=1).fit(told)
        Z, Z_test = extractor.transform(told), extractor.transform(asked)
    return 100 * float(linear().fit(Z, y[train]).score(Z_test, y[test])), time.perf_counter() - start


METHODS: dict[str, Callable] = {
    "source alone": lambda: AdaptedClassifier(linear(), DomainStandardizer(with_mean=False, with_std=False)),
    "each domain standardised": lambda: AdaptedClassifier(linear(0.01), DomainStandardizer()),
    "CORAL": lambda: AdaptedClassifier(linear(), CORALAdapter(reg=0.0, shrinkage="auto")),
}


def across(source: str, target: str) -> dict[str, float]:
    """Accuracy in percent on a target department, from 500 labelled reviews of another."""
    (texts_s, ys), (texts_t, yt) = load(source), load(target)
    texts = [*texts_s[:N_TEXTS], *texts_t[:N_TEXTS], *texts_t[N_TEXTS : 2 * N_TEXTS]]
    found = {}
    for kind, Z in features(texts).items():
        for name, make in METHODS.items():
            if kind == "TF-IDF" and name != "source alone":
                continue
            packed = pack_domains(source=(Z[:N_TEXTS], ys[:N_TEXTS]), target=Z[N_TEXTS : 2 * N_TEXTS])
            model = make().fit(packed[0], packed[1], sample_domain=packed[2])
            hits = model.predict(Z[2 * N_TEXTS :]) == yt[N_TEXTS : 2 * N_TEXTS]
            found[f"{kind}, {name}"] = 100 * float(np.mean(hits))
    return found


def collect(kept: Path) -> dict:
    """Run what is not in the file yet."""
    done = json.loads(kept.read_text()) if kept.exists() else {}
    jobs: dict[str, Callable] = {"departments": departments}
    for source, target in PAIRS:
        jobs[f"across {source} {target}"] = functools.partial(across, source, target)
    for way in ("TF-IDF", "sktransfer_mini", "MiniLM", *TUNED):
        for seed in SEEDS:
            for name in ("kitchen", "books"):
                jobs[f"sentiment {name} {seed} {way}"] = functools.partial(sentiment, name, seed, way)
    for key, job in jobs.items():
        if key not in done:
            done[key] = job()
            kept.write_text(json.dumps(done))
            print(key, done[key], flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, default=Path("texts.json"), help="results so far")
    parser.add_argument("--only-kept", action="store_true", help="lay out what there is, and run nothing")
    warnings.simplefilter("ignore")
    arguments = parser.parse_args()
    done = json.loads(arguments.kept.read_text()) if arguments.only_kept else collect(arguments.kept)
    kinds = ("TF-IDF", "sktransfer_mini", "MiniLM")
    by_labels = [[kind, *(done["departments"][f"{kind} {n}"] for n in (1, 5, 20))] for kind in kinds]
    of_ways = []
    for way in (*kinds, *TUNED):
        row: list = [way if way in kinds else f"MiniLM, {way} trained"]
        seconds = []
        for name in ("kitchen", "books"):
            ran = [done[key] for seed in SEEDS if (key := f"sentiment {name} {seed} {way}") in done]
            seconds += [took for _, took in ran]
            scores = [score for score, _ in ran]
            spread = f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
            row.append(f"{np.mean(scores):.1f}{spread} ({len(scores)})" if scores else "not run")
        of_ways.append([*row, f"{np.median(seconds):.0f}" if seconds else ""])
    pairs = [done[f"across {source} {target}"] for source, target in PAIRS]
    of_methods = [
        [name, *(pair[name] for pair in pairs), float(np.mean([pair[name] for pair in pairs]))] for name in pairs[0]
    ]
    text = f"""# Reviews as texts: accuracy in percent

{provenance("scikit-learn", "torch", "transformers", "sentence-transformers")}

Reviews of four departments of Amazon, title and text, read to {TOKENS} tokens; logistic regression on features, C = 10.

## Which department, of four

{markdown_table(["features", "1 label a class", "5", "20"], by_labels)}

{N_TEXTS} texts a department, those without a label for the test; means of 10 draws.

## Sentiment within a department, {N_LABELS} labels

{markdown_table(["", "kitchen", "books", "s"], of_ways)}

{N_TEST} test texts; in brackets the number of draws, and their deviation before. Seconds of fit and test together, one
thread, on a machine with other work to do; the frozen features of a draw may come from the cache. Trained as
{"; ".join(f"{way}: {options}" for way, options in TUNED.items())}.

## Sentiment across departments

{markdown_table(["", *(f"{s[0].upper()}→{t[0].upper()}" for s, t in PAIRS), "mean"], of_methods)}

{N_TEXTS} labelled source texts, {N_TEXTS} target texts without labels, tested on {N_TEXTS} others. Standardised
features go with C = 0.01.
"""
    publish("texts", text)


if __name__ == "__main__":
    main()
