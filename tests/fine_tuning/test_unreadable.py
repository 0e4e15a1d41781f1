"""Pictures that cannot be read, with on_error="drop"."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from common_frozen import write_pictures

from sktransfer import AdaBNClassifier, DANNClassifier, FineTunedClassifier, FineTunedRegressor, SHOTClassifier
from sktransfer.exceptions import InvalidImageError, InvalidImageWarning

MINI = {"backbone": "sktransfer_mini", "max_epochs": 2, "random_state": 0}
BAD = [3, 7, 11]  # a damaged file, a missing one, and no path at all


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """Paths of 24 pictures of which three cannot be read, and labels."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = np.array(write_pictures(folder, (digits[0][:24].reshape(-1, 8, 8) * 15).astype(np.uint8)), dtype=object)
    Path(paths[3]).write_bytes(b"not a picture")
    paths[7] = str(folder / "nothing.png")
    return paths, digits[1][:24] % 2


def broken(paths, kind):
    """The paths with a gap, as an array or as a column of a frame."""
    paths = paths.copy()
    paths[11] = None if kind is list else np.nan
    return paths.tolist() if kind is list else pd.DataFrame({"path": paths})


@pytest.mark.parametrize("kind", [list, pd.DataFrame])
@pytest.mark.parametrize("estimator", [FineTunedClassifier, FineTunedRegressor])
@pytest.mark.parametrize("trainable", ["head", "all"])
def test_fit_leaves_out_what_cannot_be_read_and_counts_it(files, kind, estimator, trainable):
    paths, y = files
    X, weights, good = broken(paths, kind), np.arange(1.0, 25.0), np.setdiff1d(np.arange(24), BAD)
    model = estimator(**MINI, trainable=trainable)
    with pytest.raises(InvalidImageError, match=r"Row \d+ of X"):
        model.fit(X, y)
    model.set_params(on_error="drop")
    with pytest.warns(
        InvalidImageWarning, match=r"3 of 24 samples of X cannot be read and are left out\. Row 3 of X"
    ) as w:
        model.fit(X, y, sample_weight=weights)
    assert len(w) == 1
    alone = estimator(**MINI, trainable=trainable).fit(paths[good].tolist(), y[good], sample_weight=weights[good])
    read = paths[good].tolist()
    np.testing.assert_array_equal(
        model.transform(pd.DataFrame({"path": read}) if kind is not list else read), alone.transform(read)
    )


@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.InvalidImageWarning")
@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_rows_that_cannot_be_read_are_nan_and_a_class_names_the_row(files, trainable):
    paths, y = files
    X, good = broken(paths, list), np.setdiff1d(np.arange(24), BAD)
    clf = FineTunedClassifier(**MINI, trainable=trainable, on_error="drop").fit(X, y)
    reg = FineTunedRegressor(**MINI, trainable=trainable, on_error="drop").fit(X, y)
    for found in (clf.predict_proba(X), clf.transform(X), reg.predict(X)[:, None], reg.transform(X)):
        assert np.isnan(found[BAD]).all() and np.isfinite(found[good]).all()
    with pytest.raises(InvalidImageError, match=r"Row \d+ of X"):
        clf.predict(X)
    read = [X[i] for i in good]
    np.testing.assert_array_equal(clf.predict(read), clf.classes_[clf.predict_proba(X)[good].argmax(1)])


@pytest.mark.filterwarnings("ignore::sktransfer.exceptions.InvalidImageWarning")
def test_held_out_pictures_single_passes_and_nothing_left(files):
    paths, y = files
    X = broken(paths, list)
    clf = FineTunedClassifier(**MINI, on_error="drop")
    with pytest.warns(InvalidImageWarning, match="of 12 samples of X_val cannot be read"):
        clf.fit(X[12:], y[12:], X_val=X[:12], y_val=y[:12])
    assert clf.history_[-1]["valid_batch_count"] == 1
    assert clf.partial_fit(X, y).n_iter_ == 3
    with pytest.raises(InvalidImageError, match=r"None of the 2 samples of X can be read\. Row 0"):
        clf.fit([X[3], X[11]], [0, 1])


def test_deep_adaptation_leaves_out_rows_with_their_domains(files):
    paths, y = files
    X, good = broken(paths, list), np.setdiff1d(np.arange(24), BAD)
    domain = np.repeat(["source", "target"], [14, 10]).tolist()
    options = {**MINI, "bottleneck": 8}
    clf = DANNClassifier(**options, on_error="drop")
    with pytest.warns(InvalidImageWarning, match="3 of 24 samples of X"):
        clf.fit(X, y, sample_domain=domain)
    read = [X[i] for i in good]
    alone = DANNClassifier(**options).fit(read, y[good], sample_domain=np.array(domain)[good])
    np.testing.assert_array_equal(clf.predict_proba(read), alone.predict_proba(read))
    with pytest.warns(InvalidImageWarning):
        assert np.isnan(clf.predict_proba(X)[BAD]).all()
    with pytest.raises(ValueError, match="on_error='drop' has no meaning for tables"):
        DANNClassifier(None, on_error="drop").fit(np.zeros((24, 3)), y, sample_domain=domain)
    with pytest.warns(InvalidImageWarning, match="3 of 24 samples of X"):
        adapted = AdaBNClassifier(clf, on_error="drop").fit(X)
    np.testing.assert_array_equal(adapted.predict_proba(read), AdaBNClassifier(clf).fit(read).predict_proba(read))
    with pytest.warns(InvalidImageWarning, match="3 of 24 samples of X"):
        SHOTClassifier(clf, max_epochs=1, on_error="drop", random_state=0).fit(X)
