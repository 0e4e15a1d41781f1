import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from sktransfer.adaptation import AdaptedClassifier, SubspaceAlignmentAdapter
from sktransfer.adaptation._subspace import choose_subspace_dimension, principal_subspaces
from sktransfer.datasets import make_domain_shift


@pytest.fixture
def data():
    X, _, d = make_domain_shift(40, 30, n_features=6, shift="subspace", random_state=0)
    return X, d


def test_rows_are_those_of_the_paper(data):
    """Xs Ps Ps' Pt and Xt Pt, with scikit-learn's principal axes, which have signs of their own."""
    X, d = data
    Xs, Xt = X[d == "source"], X[d == "target"]
    Ps, Pt = PCA(3).fit(Xs).components_.T, PCA(3).fit(Xt).components_.T
    Z = SubspaceAlignmentAdapter(3).fit_transform(X, sample_domain=d)
    expected = np.vstack([(Xs - Xs.mean(axis=0)) @ Ps @ Ps.T @ Pt, (Xt - Xt.mean(axis=0)) @ Pt])
    signs = np.sign((Z * expected).sum(axis=0))
    assert_allclose(Z, expected * signs, atol=1e-8)


def test_identical_domains_give_principal_components():
    X = np.random.default_rng(0).normal(size=(20, 4)) * [4, 3, 2, 1]
    Z = SubspaceAlignmentAdapter(2).fit_transform(np.vstack([X, X]), sample_domain=np.repeat(["s", "target"], 20))
    assert_allclose(Z[:20], Z[20:], atol=1e-10)
    assert_allclose(np.abs(Z[:20]), np.abs(PCA(2).fit_transform(X)), atol=1e-8)


def test_alignment_is_closer_than_no_alignment():
    """A rotated copy of the source: its axes are the source's, turned."""
    rng = np.random.default_rng(0)
    Xs = rng.normal(size=(500, 5)) * [5, 3, 1, 0.1, 0.1]
    Xt = Xs @ np.linalg.qr(np.eye(5) + 0.3 * rng.normal(size=(5, 5)))[0]
    Z = SubspaceAlignmentAdapter(3).fit_transform(np.vstack([Xs, Xt]), sample_domain=np.repeat(["s", "target"], 500))
    Ps, Pt = principal_subspaces(Xs, Xt, 3)[2:]
    aligned = np.abs(np.cov(Z[:500].T) - np.cov(Z[500:].T)).max()
    assert aligned < np.abs(np.cov((Xs @ Ps).T) - np.cov((Xt @ Ps).T)).max()
    assert Pt.shape == (5, 3)


def test_rotation_scale_and_order_of_rows(data):
    X, d = data
    Z = SubspaceAlignmentAdapter(3).fit_transform(X, sample_domain=d)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    turned = SubspaceAlignmentAdapter(3).fit_transform(X @ rotation, sample_domain=d)
    assert_allclose(np.abs(turned), np.abs(Z), atol=1e-8)
    assert_allclose(SubspaceAlignmentAdapter(3).fit_transform(10 * X + 5, sample_domain=d), 10 * Z, atol=1e-8)
    order = np.random.default_rng(0).permutation(len(X))
    again = SubspaceAlignmentAdapter(3).fit_transform(X[order], sample_domain=d[order])
    assert_allclose(np.abs(again), np.abs(Z[order]), atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_dimension_is_that_of_the_definition(seed):
    """The disagreement measure by scipy's angles between subspaces."""
    rng = np.random.default_rng(seed)
    Xs, Xt = (rng.normal(size=(60, 30)) * np.linspace(3, 1, 30) @ rng.normal(size=(30, 30)) for _ in range(2))
    Xs, Xt = Xs - Xs.mean(axis=0), Xt - Xt.mean(axis=0)
    axes = [PCA(15).fit(X).components_.T for X in (Xs, Xt, np.vstack([Xs, Xt]))]
    measure = [
        np.mean([np.sin(subspace_angles(P[:, :d], axes[2][:, :d]).max()) for P in axes[:2]]) for d in range(1, 16)
    ]
    reached = np.flatnonzero(np.array(measure) >= 0.995)
    expected = reached[0] + 1 if len(reached) else np.argmax(measure) + 1
    assert choose_subspace_dimension(Xs, Xt) == expected


def test_dimension_of_identical_domains_is_small_and_legal():
    X = np.random.default_rng(0).normal(size=(20, 6))
    X -= X.mean(axis=0)
    assert choose_subspace_dimension(X, X) == 1
    assert SubspaceAlignmentAdapter("auto").fit(np.vstack([X, X]), [0] * 20 + [-1] * 20).n_features_out_ == 1


def test_number_of_components_is_what_both_domains_have():
    X = np.random.default_rng(0).normal(size=(13, 8))
    d = np.repeat(["s", "target"], [10, 3])
    assert SubspaceAlignmentAdapter(30).fit(X, sample_domain=d).n_features_out_ == 2


def test_office_caltech_accuracy(office_caltech):
    """Published, webcam to dslr, with an SVM: 62.4 %; here the nearest neighbour is better."""
    X, y, yt = office_caltech("webcam", "dslr", unit_length=True)
    model = AdaptedClassifier(KNeighborsClassifier(1), SubspaceAlignmentAdapter(40)).fit(X, y)
    assert 100 * model.score(X[y == -1], yt) > 80


@pytest.mark.parametrize("n_components", [0, "all", 1.5])
def test_parameter_errors(data, n_components):
    with pytest.raises(ValueError, match="The 'n_components' parameter of SubspaceAlignmentAdapter"):
        SubspaceAlignmentAdapter(n_components).fit(data[0], sample_domain=data[1])
