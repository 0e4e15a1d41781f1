"""Which kernel width cross-validation chooses for KLIEP and RuLSIF, with held-out rows among the centres and without.

Two normals of known density ratio, in 5 and in 20 dimensions, and reviews of books as the source of reviews of kitchen
goods. Run: ``python benchmarks/accuracy/kernel_widths.py``; it writes kernel_widths.md beside itself.
"""

import gzip
import json
import warnings

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sktransfer.weighting import KLIEPWeighter, RuLSIFWeighter
from sktransfer.weighting._common import deal_rows, gaussian_features, spread_rows
from sktransfer.weighting._kliep import kliep_coefficients
from sktransfer.weighting._rulsif import _REGS, rulsif_coefficients

SEEDS = range(10)
N_CENTERS = 100


def fixed_centre_scores(Xs, Xt, gammas, *, cv=5):
    """Held-out likelihoods of KLIEP where held-out rows stay among the centres, as it must not be done."""
    centers, folds, scores = spread_rows(Xt, N_CENTERS), deal_rows(Xt, cv), []
    for gamma in gammas:
        source_mean = gaussian_features(Xs, centers, gamma).mean(axis=0)
        features, held_out = gaussian_features(Xt, centers, gamma), np.empty(len(Xt))
        for fold in range(cv):
            alpha, _ = kliep_coefficients(features[folds != fold], source_mean)
            held_out[folds == fold] = np.log(np.maximum(features[folds == fold] @ alpha, 1e-300))
        scores.append(held_out.mean())
    return np.array(scores)


def fold_centre_losses(Xs, Xt, gammas, *, alpha, cv=5):
    """Errors of RuLSIF in folds whose centres are rows of the training part; the class leaves single rows out."""
    losses = np.zeros((len(gammas), len(_REGS)))
    folds_s, folds_t = deal_rows(Xs, cv), deal_rows(Xt, cv)
    for fold in range(cv):
        out_s, out_t = folds_s == fold, folds_t == fold
        centers = spread_rows(Xt[~out_t], N_CENTERS)
        for row, gamma in enumerate(gammas):
            S, T = gaussian_features(Xs, centers, gamma), gaussian_features(Xt, centers, gamma)
            for column, reg in enumerate(_REGS):
                theta = rulsif_coefficients(S[~out_s], T[~out_t], alpha=alpha, reg=reg)
                w_s, w_t = S[out_s] @ theta, T[out_t] @ theta
                losses[row, column] += alpha / 2 * np.mean(w_t**2) + (1 - alpha) / 2 * np.mean(w_s**2) - np.mean(w_t)
    return losses


def normals(n_features, seed):
    """Source and target rows, one mean shifted by 1, and the true ratio at the source rows."""
    rng = np.random.RandomState(seed)
    Xs, Xt = rng.randn(400, n_features), rng.randn(400, n_features)
    Xt[:, 0] += 1.0
    return Xs, Xt, np.exp(Xs[:, 0] - 0.5)


def reviews():
    """Source and target rows of 100 features, source and target labels."""
    found = {}
    for name in ("books", "kitchen"):
        path = data_folder() / "data" / "amazon_reviews_text" / f"{name}.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf8") as lines:
            rows = [json.loads(line) for line in lines]
        found[name] = [row["title"] + " " + row["text"] for row in rows], np.array([int(row["label"]) for row in rows])
    (source, ys), (target, yt) = found.values()
    words = TfidfVectorizer(min_df=3, ngram_range=(1, 2), sublinear_tf=True).fit_transform(source + target)
    X = TruncatedSVD(100, random_state=0).fit_transform(words)
    return X[: len(ys)], X[len(ys) :], ys, yt


def weigh(weighter, Xs, Xt):
    """Fit on both domains."""
    return weighter.fit(np.vstack([Xs, Xt]), sample_domain=np.repeat(["source", "target"], [len(Xs), len(Xt)]))


def candidates(Xs, Xt):
    """Weights by the way in which the parameters of the weighter are chosen, and those of every candidate."""
    kliep = weigh(KLIEPWeighter(), Xs, Xt)
    each = [weigh(KLIEPWeighter(gamma=float(gamma)), Xs, Xt).weights_ for gamma in kliep.gammas_]
    contaminated = each[int(np.argmax(fixed_centre_scores(Xs, Xt, kliep.gammas_)))]
    yield "KLIEP, held-out rows among the centres", contaminated, None
    yield "KLIEP, centres of each training part", kliep.weights_, each
    rulsif = weigh(RuLSIFWeighter(), Xs, Xt)
    pairs = [{"gamma": float(gamma), "reg": reg} for gamma in kliep.gammas_ for reg in _REGS]
    each = [weigh(RuLSIFWeighter(**pair), Xs, Xt).weights_ for pair in pairs]
    by_folds = each[int(np.argmin(fold_centre_losses(Xs, Xt, kliep.gammas_, alpha=0.1)))]
    yield "RuLSIF, single rows left out, all centres", rulsif.weights_, each
    yield "RuLSIF, centres of each training part", by_folds, None


def correlation(weights, true):
    """Pearson's, zero where all weights are one."""
    return float(np.corrcoef(weights, true)[0, 1]) if weights.std() > 0 else 0.0


def normal_columns(n_features):
    """Mean correlation with the true ratio, of each way and of its best candidate."""
    found, best = {}, {}
    for seed in SEEDS:
        Xs, Xt, true = normals(n_features, seed)
        for name, weights, each in candidates(Xs, Xt):
            found.setdefault(name, []).append(correlation(weights, true))
            if each is not None:
                best.setdefault(name.split(",")[0], []).append(max(correlation(one, true) for one in each))
    return {name: np.mean(values) for name, values in (found | best).items()}


def review_columns():
    """Target accuracy of a logistic regression on weighted source rows, and the effective number of these."""
    Xs, Xt, ys, yt = reviews()
    ways = [("no weights", np.ones(len(Xs))), *((name, weights) for name, weights, _ in candidates(Xs, Xt))]
    accuracy, size = {}, {}
    for name, weights in ways:
        model = LogisticRegression(max_iter=1000).fit(Xs, ys, sample_weight=weights)
        accuracy[name], size[name] = model.score(Xt, yt), weights.sum() ** 2 / np.sum(weights**2)
    return accuracy, size


def main() -> None:
    warnings.simplefilter("ignore")
    five, twenty, (accuracy, size) = normal_columns(5), normal_columns(20), review_columns()
    rows = []
    for name in dict.fromkeys([*accuracy, *five]):
        shown = f"{name}, best candidate" if name in ("KLIEP", "RuLSIF") else name
        normal = [f"{column[name]:.2f}" if name in column else "" for column in (five, twenty)]
        review = [f"{accuracy[name]:.3f}", f"{size[name]:.0f}"] if name in accuracy else ["", ""]
        rows.append([shown, *normal, *review])
    header = ["width chosen by", "normals, 5 features", "normals, 20 features", "books to kitchen", "effective rows"]
    text = f"""# Kernel widths chosen by cross-validation

{provenance("scikit-learn", "numpy", "scipy")}

{markdown_table(header, rows)}

Normals: 400 source and 400 target rows, one mean shifted by 1; correlation of the weights with the true ratio, mean of
{len(SEEDS)} draws. Books to kitchen: accuracy on 2000 reviews of kitchen goods of a logistic regression on 2000
weighted reviews of books (100 components of the weighted counts of words and pairs of words), and the effective number
of the latter, (sum w)^2 / sum w^2. Best candidate: that of the greatest correlation, which nobody knows where the ratio
is not known.

A held-out row that stays a kernel centre is likely under the narrowest kernel, whatever the density: KLIEP then gives
nearly all weight to a few source rows. `KLIEPWeighter` takes the centres of each fold from its training part. Among the
reviews of kitchen goods some come twice: equal rows are in one fold, and no held-out row counts for more than a weight
of the number of source rows, so that a few pairs of nearly equal rows do not decide. Leaving
one row out of RuLSIF takes its term out of the coefficient of its own kernel, too, and the ridge holds that near zero;
folds without held-out centres choose no better, so `RuLSIFWeighter` keeps the closed form.
"""
    publish("kernel_widths", text)


if __name__ == "__main__":
    main()
