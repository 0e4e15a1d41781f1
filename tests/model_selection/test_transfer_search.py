import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from sktransfer import (
    AdaptedClassifier,
    DomainKFold,
    MMDAdapter,
    TransferSearchCV,
    make_domain_shift,
    make_image_domains,
    oracle_scorer,
)
from sktransfer.exceptions import DomainError, NegativeTransferWarning
from sktransfer.model_selection._ensemble import greedy_weights

CHEAP = ["frozen_linear", "frozen_knn"]


@pytest.fixture(scope="module")
def pictures():
    X, y, _ = make_image_domains(90, 2, random_state=0)
    return X[:90], np.array([f"class {label}" for label in y[:90]])


@pytest.fixture(scope="module")
def shifted():
    return make_domain_shift(100, 80, shift="subspace", n_features=5, random_state=0)


@pytest.fixture(scope="module")
def fitted(pictures):
    return TransferSearchCV("sktransfer_mini", CHEAP, random_state=0).fit(*pictures)


@pytest.fixture(scope="module")
def averaged(pictures):
    return TransferSearchCV("sktransfer_mini", CHEAP, cv=3, refit="ensemble", random_state=0).fit(*pictures)


def tables(**params):
    defaults = {"strategies": ["coral", "subspace_alignment", "jda"], "random_state": 0}
    return TransferSearchCV(None, **{**defaults, **params})


class TestPictures:
    def test_is_the_winner(self, fitted, pictures):
        X, y = pictures
        assert fitted.baseline_ == "no_transfer"
        assert fitted.best_strategy_ in CHEAP
        assert_array_equal(fitted.predict(X), fitted.best_estimator_.predict(X))
        assert_array_equal(fitted.classes_, np.unique(y))
        assert_array_equal(fitted.predict_proba(X), fitted.best_estimator_.predict_proba(X))
        assert fitted.score(X, y) == np.mean(fitted.predict(X) == y)
        assert fitted.evidence_ is None

    def test_scores_are_those_of_cross_validation(self, fitted, pictures):
        results = fitted.cv_results_
        assert results["strategy"].tolist() == ["no_transfer", *CHEAP]
        row = results["strategy"].tolist().index(fitted.best_strategy_)
        seed = np.random.RandomState(0).randint(2**31 - 1)
        halves, folds = (list(StratifiedKFold(k, shuffle=True, random_state=seed).split(*pictures)) for k in (2, 5))
        expected = cross_val_score(fitted.best_estimator_, *pictures, cv=[halves[0], *folds])
        n = results["n_folds"][row]
        assert n == 2
        assert_array_equal([results[f"split{fold}_test_score"][row] for fold in range(n)], expected[:n])
        assert fitted.best_score_ == pytest.approx(np.mean(expected[:n]))

    def test_report(self, fitted):
        assert fitted.report_.startswith(f"{fitted.best_strategy_} is the strategy used: mean score 0.")
        assert "ahead of no_transfer, the baseline" in fitted.report_
        for name in ("no_transfer", *CHEAP):
            assert f"\n- {name}: 0." in fitted.report_

    def test_clone_pickle_and_same_seed(self, fitted, pictures):
        X, _ = pictures
        again = clone(fitted).fit(*pictures)
        assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
        assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))

    def test_networks_are_trained(self, pictures):
        search = TransferSearchCV("sktransfer_mini", ["head"], cv=2, max_epochs=3, image_size=32, random_state=0)
        search.fit(*pictures)
        assert search.cv_results_["n_folds"].tolist() == [2, 2]
        assert search.best_estimator_ is not None

    def test_own_classifiers(self, pictures):
        X, y = pictures
        mine = make_pipeline(clone(TransferSearchCV("sktransfer_mini", ["frozen_knn"]).fit(X, y).best_estimator_[0]))
        mine = make_pipeline(mine, KNeighborsClassifier(1))
        search = TransferSearchCV("sktransfer_mini", {"mine": mine, "frozen_linear": "auto"}, random_state=0)
        assert search.fit(X, y).cv_results_["strategy"].tolist() == ["no_transfer", "frozen_linear", "mine"]
        assert not hasattr(mine[-1], "classes_")

    def test_in_a_search(self, pictures):
        search = GridSearchCV(TransferSearchCV("sktransfer_mini", CHEAP, cv=2), {"image_size": [32, 64]}, cv=2)
        search.fit(*pictures)
        assert search.predict(pictures[0][:3]).shape == (3,)

    def test_a_short_budget_leaves_the_baseline(self, pictures):
        search = TransferSearchCV("sktransfer_mini", time_budget=1e-3, random_state=0).fit(*pictures)
        assert search.best_strategy_ == "no_transfer"
        assert set(search.cv_results_["outcome"]) == {"best", "no time"}
        assert f"{search.seconds_:.1f} of 0.001 s" in search.report_


class TestEnsemble:
    def test_averages_the_best_by_their_weights(self, averaged, pictures):
        X, y = pictures
        weights, parts = averaged.ensemble_weights_, averaged.best_estimator_.named_estimators_
        assert set(weights) <= {"no_transfer", *CHEAP}
        assert sum(weights.values()) == pytest.approx(1)
        expected = sum(weight * parts[name].predict_proba(X) for name, weight in weights.items())
        np.testing.assert_allclose(averaged.predict_proba(X), expected)
        assert_array_equal(averaged.predict(X), averaged.classes_[expected.argmax(axis=1)])
        assert averaged.score(X, y) == np.mean(averaged.predict(X) == y)
        assert averaged.report_.startswith("An average is used: ")
        assert averaged.best_strategy_ in CHEAP

    def test_weights_are_of_what_was_said_out_of_the_folds(self, averaged, pictures):
        X, y = pictures
        results = averaged.cv_results_
        assert results["n_folds"].tolist() == [4, 4, 4]
        seed = np.random.RandomState(0).randint(2**31 - 1)
        folds = [next(StratifiedKFold(2, shuffle=True, random_state=seed).split(X, y))]
        folds += list(StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y))
        candidates = averaged._candidates(False, seed)
        said = [
            np.concatenate([clone(c.estimator).fit(X[a], y[a]).predict_proba(X[b]) for a, b in folds])
            for c in candidates
        ]
        tested = y[np.concatenate([b for _, b in folds])]
        expected = greedy_weights(np.stack(said), tested, averaged.classes_, initial=np.array([0, 1, 1]))
        np.testing.assert_allclose(results["ensemble_weight"], expected)

    def test_clone_pickle_and_without(self, averaged, pictures):
        X, y = pictures
        assert_array_equal(pickle.loads(pickle.dumps(averaged)).predict_proba(X), averaged.predict_proba(X))
        again = clone(averaged).set_params(refit=True, strategies=["frozen_knn"], cv=2).fit(X, y)
        assert again.ensemble_weights_ is None
        assert "ensemble_weight" not in again.cv_results_

    def test_a_short_budget_leaves_the_baseline(self, pictures):
        search = TransferSearchCV("sktransfer_mini", CHEAP, refit="ensemble", time_budget=1e-3, random_state=0)
        assert search.fit(*pictures).ensemble_weights_ == {"no_transfer": 1.0}

    @pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")  # one row of each in training
    def test_two_labels_a_class(self, pictures):
        X, y = pictures
        rows = np.concatenate([np.flatnonzero(y == label)[:2] for label in np.unique(y)])
        search = TransferSearchCV("sktransfer_mini", CHEAP, refit="ensemble", random_state=0)
        assert search.fit(X[rows], y[rows]).n_folds_ == 2

    def test_errors(self, pictures, shifted):
        X, y = pictures
        search = TransferSearchCV("sktransfer_mini", {"mine": LinearSVC()}, refit="ensemble")
        with pytest.raises(ValueError, match="'mine' gives none: it has no predict_proba"):
            search.fit(X, y)
        with pytest.raises(ValueError, match="refit must be True, for the best candidate, or 'ensemble'"):
            search.set_params(refit="all").fit(X, y)
        X, y, names = shifted
        with pytest.raises(ValueError, match="refit='ensemble' weighs the strategies by labels"):
            tables(refit="ensemble").fit(X, y, sample_domain=names)


class TestDomains:
    def test_adapts_and_reads_no_target_labels(self, shifted):
        X, y, names = shifted
        target = names == "target"
        search = tables().fit(X, y, sample_domain=names)
        other = tables().fit(X, np.where(target, 1 - y, y), sample_domain=names)
        unlabelled = tables().fit(X, np.where(target, -1, y))
        assert search.baseline_ == "no_adaptation"
        assert search.best_strategy_ != "no_adaptation"
        baseline = LogisticRegression().fit(X[~target], y[~target]).score(X[target], y[target])
        assert search.score(X[target], y[target]) > baseline + 0.2
        for again in (other, unlabelled):
            assert_array_equal(again.predict_proba(X), search.predict_proba(X))
            assert_array_equal(again.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])

    def test_the_oracle_reads_them(self, shifted):
        X, y, names = shifted
        target = names == "target"
        search = tables(scoring=oracle_scorer("accuracy")).fit(X, y, sample_domain=names)
        best = search.cv_results_["mean_test_score"].max()
        assert 0.9 < best <= 1
        assert search.score(X[target], y[target]) > 0.9

    def test_the_guard_falls_back(self, shifted):
        X, y, names = shifted
        source = names == "source"

        class Harm(MMDAdapter):
            def _transform_rows(self, X, is_target):
                return np.random.default_rng(0).normal(size=(len(X), 2))

        mine = AdaptedClassifier(LogisticRegression(), Harm(2))
        # A scorer that likes it.
        scoring = oracle_scorer(lambda estimator, X, y: float(isinstance(estimator, AdaptedClassifier)))
        search = tables(strategies={"harm": mine}, scoring=scoring, guard=True)
        with pytest.warns(NegativeTransferWarning, match="'harm' was best by its score, but transfer_evidence"):
            search.fit(X, y, sample_domain=names)
        assert search.best_strategy_ == "no_adaptation"
        assert not search.evidence_.helps
        assert "dropped by the guard" in search.report_
        expected = clone(search.best_estimator_).fit(X[source], y[source])
        assert_array_equal(search.predict_proba(X), expected.predict_proba(X))

    def test_the_guard_keeps_what_helps(self, shifted):
        X, y, names = shifted
        with warnings.catch_warnings():
            warnings.simplefilter("error", NegativeTransferWarning)
            search = tables(guard=True).fit(X, y, sample_domain=names)
        assert search.evidence_.helps
        assert search.best_strategy_ != "no_adaptation"

    def test_pictures(self):
        X, y, names = make_image_domains(40, 40, random_state=0)
        search = TransferSearchCV("sktransfer_mini", ["coral", "mcc"], image_size=32, max_epochs=2, random_state=0)
        search.set_params(guard=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegativeTransferWarning)
            search.fit(X, y, sample_domain=names)
        assert search.cv_results_["strategy"].tolist() == ["no_adaptation", "coral", "mcc"]
        assert search.predict(X[-3:]).shape == (3,)

    def test_names_of_targets_and_other_folds(self, shifted):
        X, y, names = shifted
        renamed = np.where(names == "target", "webcam", "amazon")
        search = tables(target_domain="webcam", cv=DomainKFold(2, target_domain="webcam", random_state=0))
        search.fit(X, y, sample_domain=renamed)
        assert search.n_folds_ == 2
        assert search.best_strategy_ != "no_adaptation"


class TestErrors:
    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"strategies": ["head", "magic"]}, r"\['magic'\] is not known here.*'frozen_linear'"),
            ({"strategies": "all"}, "strategies must be 'auto', a list of names or a dict, got 'all'"),
            ({"strategies": {"mine": 3}}, "a dict may bring classifiers of your own"),
            ({"factor": 1}, "'factor' parameter of TransferSearchCV"),
            ({"time_budget": 0}, "'time_budget' parameter of TransferSearchCV"),
            ({"backbone": None}, "there is none. Pass sample_domain"),
            ({"scoring": "acuracy"}, "'acuracy'"),
        ],
    )
    def test_parameters(self, pictures, params, message):
        search = TransferSearchCV("sktransfer_mini", CHEAP).set_params(**params)
        X, y = pictures
        with pytest.raises(ValueError, match=message):
            search.fit(X if search.backbone else X.reshape(len(X), -1), y)

    def test_scorers_of_scikit_learn_with_a_target(self, shifted):
        X, y, names = shifted
        with pytest.raises(ValueError, match=r"scoring='accuracy' with a target domain.*oracle_scorer\('accuracy'\)"):
            tables(scoring="accuracy").fit(X, y, sample_domain=names)

    def test_domains(self, shifted):
        X, y, names = shifted
        with pytest.raises(DomainError, match="No target rows"):
            tables(target_domain="webcam").fit(X, y, sample_domain=names)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            tables().fit(X, y[:-1], sample_domain=names)

    def test_a_strategy_that_fails(self, shifted):
        X, y, names = shifted
        broken = AdaptedClassifier(KNeighborsClassifier(n_neighbors=1000), MMDAdapter(2))
        search = tables(strategies={"coral": "auto", "broken": broken})
        with pytest.warns(FitFailedWarning, match="'broken' failed"):
            search.fit(X, y, sample_domain=names)
        assert search.cv_results_["outcome"][2].startswith("failed:")
        assert np.isnan(search.cv_results_["mean_test_score"][2])


def test_error_score_is_that_of_scikit_learn():
    X, y, d = make_domain_shift(40, 40, shift="subspace", n_features=4, random_state=0)

    class Broken(LogisticRegression):
        def fit(self, X, y):
            raise RuntimeError("broken")

    params = {"strategies": {"coral": "auto", "broken": Broken()}, "cv": 2, "random_state": 0}
    with pytest.raises(RuntimeError, match="broken"):
        TransferSearchCV(None, **params, error_score="raise").fit(X, y, sample_domain=d)
    with pytest.warns(FitFailedWarning, match="'broken' failed"):
        search = TransferSearchCV(None, **params, error_score=-1.0).fit(X, y, sample_domain=d)
    assert search.cv_results_["split0_test_score"][2] == -1
