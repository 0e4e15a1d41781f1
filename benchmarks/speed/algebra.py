"""Linear algebra of domain adaptation: transfer components, kernel mean matching, target shift, discrepancies."""

import numpy as np
from da_speed import GAMMA, make_data

from speed._job import Job

N_COMPONENTS = 20
# Shares of five classes in the source and in the target.
SOURCE, TARGET = np.full(5, 0.2), np.array([0.05, 0.1, 0.15, 0.3, 0.4])


def side(make, n, **params):
    """Prepare a call, after a small one for what packages do once."""

    def prepare():
        make(60, **params)()
        return make(n, **params)

    return prepare


def stacked(Xs, Xt, ys=None, *, skada):
    """Rows, labels and domains as either package wants them."""
    y = np.concatenate([np.zeros(len(Xs), dtype=int) if ys is None else ys, np.full(len(Xt), -1)])
    marks = np.repeat([1, -2] if skada else ["source", "target"], [len(Xs), len(Xt)])
    return np.vstack([Xs, Xt]), y, marks


def kernel(X, Y):
    """RBF kernel in double precision, written out; blocks of rows keep its copies small."""
    origin = X.mean(axis=0)
    X, Y = X - origin, Y - origin
    K = np.empty((len(X), len(Y)))
    for start in range(0, len(X), 500):
        rows = slice(start, start + 500)
        squared = np.sum(X[rows] ** 2, axis=1)[:, np.newaxis] + np.sum(Y**2, axis=1) - 2 * X[rows] @ Y.T
        np.exp(-GAMMA * np.maximum(squared, 0), out=K[rows])
    return K


# Transfer components. skada has A = I + 0.1 K L K with entries of L of 1 / n^2, we have A = mu I + K L K with L of norm
# 1: one problem where mu = n / (2 * 0.1).
def tca(n, *, solver):
    """Our side."""
    from sktransfer.adaptation import MMDAdapter

    X, _, domains = stacked(*make_data(n)[:2], skada=False)
    params = {"gamma": GAMMA, "mu": 5.0 * n, "solver": solver, "n_landmarks": 500, "random_state": 0}
    model = MMDAdapter(N_COMPONENTS, kernel="rbf", **params)

    def call():
        model.fit(X, sample_domain=domains)
        return {"coef": model.coef_, "landmarks": model.landmarks_}

    return call


def tca_skada(n):
    """Their side; its kernel coefficient is always 1 / n_features."""
    from skada import TransferComponentAnalysisAdapter

    X, y, domains = stacked(*make_data(n)[:2], skada=True)
    model = TransferComponentAnalysisAdapter(n_components=N_COMPONENTS, mu=0.1)
    return lambda: {"coef": model.fit(X, y, sample_domain=domains).eigvects_, "landmarks": None}


def tca_objective(K, result):
    """Variance that the components keep, tr((W'AW)^-1 W'BW): the same for all scales and mixtures of the components."""
    n = len(K) // 2
    W = result["coef"].astype(np.float64)
    if result["landmarks"] is not None:
        # Of all coefficients of the training rows that give these ones of the landmarks, the smallest.
        C = K[:, result["landmarks"]]
        W = C @ np.linalg.lstsq(C.T @ C, C[result["landmarks"]] @ W, rcond=None)[0]
    Z = K @ W
    apart = Z[:n].mean(axis=0) - Z[n:].mean(axis=0)
    Z -= Z.mean(axis=0)
    return float(np.trace(np.linalg.solve(W.T @ W + 0.1 * np.outer(apart, apart), Z.T @ Z)))


def tca_agreement(n, results):
    """Objectives as shares of the exact one."""
    rows = np.vstack(make_data(n)[:2])
    K = kernel(rows, rows)
    values = {side: tca_objective(K, result) for side, result in results.items()}
    exact = values["ours, exact"]
    if values["ours, Nystroem"] < 0.999 * exact or exact < max(values.values()) * (1 - 1e-7):
        raise AssertionError(f"Objectives {values}.")
    shares = (f"{side} {100 * value / exact:.4f} %" for side, value in values.items())
    return f"objective {exact:.4g} (exact); " + ", ".join(shares)


# Kernel mean matching.
def kmm(n, *, skada):
    """Either side, with the parameters that both have by default."""
    X, y, domains = stacked(*make_data(n)[:2], skada=skada)
    if skada:
        from skada import KMMReweightAdapter

        model = KMMReweightAdapter(gamma=GAMMA)
        return lambda: model.fit(X, y, sample_domain=domains).source_weights_[:n]
    from sktransfer.weighting import KMMWeighter

    weighter = KMMWeighter(gamma=GAMMA)
    return lambda: weighter.fit(X, sample_domain=domains).weights_


def kmm_agreement(n, results):
    """Objectives at the best scale of the weights, and how far each is from a solution to a gap of 1e-6."""
    from sktransfer.weighting import KMMWeighter

    Xs, Xt, _ = make_data(n)
    K, kappa = kernel(Xs, Xs), n * kernel(Xs, Xt).mean(axis=1)
    X, _, domains = stacked(Xs, Xt, skada=False)
    best = KMMWeighter(gamma=GAMMA, tol=1e-6, max_iter=100_000).fit(X, sample_domain=domains)

    def value(b):
        # Between the bounds of the slab, which the solution does not touch here.
        return float(-((kappa @ b) ** 2) / (2 * b @ (K @ b)))

    reference = value(best.weights_)
    missing = {side: (value(b.astype(np.float64)) - reference) / abs(reference) for side, b in results.items()}
    if missing["ours"] > 1e-4 or missing["ours"] > missing["skada"]:
        raise AssertionError(f"Relative to the optimum {reference}: {missing}.")
    parts = (f"{side} {gap:.1e}" for side, gap in missing.items())
    return f"above the optimum (reference to a duality gap of {best.gap_:.0e}), relative: " + ", ".join(parts)


# Target shift.
def shifted_classes(n):
    """Rows of both domains and their classes, whose shares differ."""
    rng = np.random.default_rng(n)
    W, centers = rng.normal(size=(20, 512)) / np.sqrt(20), rng.normal(size=(5, 20))
    ys, yt = rng.choice(5, size=n, p=SOURCE), rng.choice(5, size=n, p=TARGET)
    parts = [(centers[y] + rng.normal(size=(n, 20))) @ W + 0.1 * rng.normal(size=(n, 512)) for y in (ys, yt)]
    return *parts, ys, yt


def target_shift(n, *, skada):
    """Either side; returns the shares of the classes in the target."""
    Xs, Xt, ys, _ = shifted_classes(n)
    X, y, domains = stacked(Xs, Xt, ys, skada=skada)
    if skada:
        from skada._reweight import MMDTarSReweightAdapter

        model = MMDTarSReweightAdapter(gamma=GAMMA)

        def call():
            weights = model.fit(X, y, sample_domain=domains).source_weights_
            return np.bincount(ys, weights=weights) / weights.sum()

        return call
    from sktransfer.weighting import LabelShiftWeighter

    weighter = LabelShiftWeighter(method="kernel", gamma=GAMMA)
    return lambda: weighter.fit(X, y, sample_domain=domains).target_proportions_


def target_shift_agreement(n, results):
    """Largest error of a class share."""
    truth = np.bincount(shifted_classes(n)[3]) / n
    errors = {side: float(np.abs(shares - truth).max()) for side, shares in results.items()}
    if errors["ours"] > 0.02:
        raise AssertionError(f"Shares {results}, true {truth}.")
    return "largest error of a class share: " + ", ".join(f"{side} {error:.3f}" for side, error in errors.items())


# Maximum mean discrepancy.
def mmd(n, *, ours):
    """Ours in blocks, or whole kernel matrices in double precision."""
    Xs, Xt, _ = make_data(n)
    if ours:
        from sktransfer.metrics import mmd_distance

        return lambda: mmd_distance(Xs, Xt, gamma=GAMMA)
    from sklearn.metrics.pairwise import rbf_kernel

    def call():
        within = rbf_kernel(Xs, gamma=GAMMA).mean() + rbf_kernel(Xt, gamma=GAMMA).mean()
        return float(within - 2 * rbf_kernel(Xs, Xt, gamma=GAMMA).mean())

    return call


def mmd_agreement(results):
    """Relative difference."""
    difference = abs(results["ours"] / results["numpy, whole matrices"] - 1)
    if difference > 1e-6:
        raise AssertionError(f"{results}")
    return f"relative difference {difference:.0e}"


# Transport.
def transport(n, *, ours):
    """Our adapter, or POT with the same scale of costs and weight of the entropy."""
    Xs, Xt, _ = make_data(n)
    if ours:
        from sktransfer.adaptation import OTAdapter

        X, _, domains = stacked(Xs, Xt, skada=False)
        model = OTAdapter()
        return lambda: model.fit(X, sample_domain=domains).shift_ + Xs
    import ot

    model = ot.da.SinkhornTransport(reg_e=0.1, norm="median")
    return lambda: model.fit(Xs=Xs, Xt=Xt).transform(Xs=Xs)


def transport_agreement(results):
    """Largest difference of a moved row's feature."""
    difference = float(np.abs(results["ours"] - results["POT"]).max())
    if difference > 1e-3:
        raise AssertionError(f"Moved rows differ by {difference}.")
    return f"moved rows differ by at most {difference:.0e}"


TCA_NOTE = "512 features, about 20 intrinsic dimensions, RBF kernel, 20 components; 500 landmarks. "
JOBS = {
    "tca_2000": Job(
        "transfer components, n = m = 2000",
        {
            "ours, Nystroem": side(tca, 2000, solver="nystroem"),
            "ours, exact": side(tca, 2000, solver="exact"),
            "skada": side(tca_skada, 2000),
        },
        {("ours, Nystroem", "skada"): 300, ("ours, exact", "skada"): 25},
        lambda results: tca_agreement(2000, results),
        memory=True,
        packages={"skada": "skada"},
        note=TCA_NOTE + "All solve one problem, that of skada, and are compared by one function in double precision.",
    ),
    "tca_5000": Job(
        "transfer components, n = m = 5000",
        {
            "ours, Nystroem": side(tca, 5000, solver="nystroem"),
            "ours, exact": side(tca, 5000, solver="exact"),
        },
        {},
        lambda results: tca_agreement(5000, results),
        memory=True,
        note=TCA_NOTE + "skada needs more than 10 minutes and 6 GB here.",
    ),
    "kmm_5000": Job(
        "kernel mean matching, n = m = 5000",
        {"ours": side(kmm, 5000, skada=False), "skada": side(kmm, 5000, skada=True)},
        {("ours", "skada"): 5},
        lambda results: kmm_agreement(5000, results),
        memory=True,
        packages={"skada": "skada"},
    ),
    "target_shift_5000": Job(
        "target-shift weights by kernel means, n = m = 5000",
        {"ours": side(target_shift, 5000, skada=False), "skada": side(target_shift, 5000, skada=True)},
        {("ours", "skada"): 30},
        lambda results: target_shift_agreement(5000, results),
        memory=True,
        packages={"skada": "skada"},
        note="Five classes, equally frequent in the source, 5 to 40 % in the target.",
    ),
    "mmd_5000": Job(
        "maximum mean discrepancy, n = m = 5000",
        {"ours": side(mmd, 5000, ours=True), "numpy, whole matrices": side(mmd, 5000, ours=False)},
        {("ours", "numpy, whole matrices"): 1.5},
        mmd_agreement,
        memory=True,
    ),
    "sinkhorn_5000": Job(
        "transport with an entropy, n = m = 5000",
        {"ours": side(transport, 5000, ours=True), "POT": side(transport, 5000, ours=False)},
        {("ours", "POT"): 1.7},
        transport_agreement,
        memory=True,
        packages={"POT": "ot"},
        note="Both call POT, ours in single precision; POT takes squared distances pair by pair.",
    ),
}
