"""Who evaluates on folds reads the domain labels once; only estimators and scorers that get them read them again."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from sktransfer import AdaptedClassifier, CORALAdapter, TransferSearchCV, make_domain_shift, negative_transfer_report
from sktransfer.domains import check_domains


@pytest.fixture
def data():
    return make_domain_shift(40, 40, n_features=4, random_state=0)


def reads_in(run):
    """Count the calls of check_domains by the file that calls."""
    counts = Counter()

    def see(frame, event, _):
        if event == "call" and frame.f_code is check_domains.__code__:
            counts[Path(frame.f_back.f_code.co_filename).name] += 1

    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    return dict(counts)


def test_a_search_reads_domains_once(data):
    X, y, sample_domain = data
    search = TransferSearchCV(None, ["no_adaptation"], cv=3, guard=True, random_state=0)
    assert reads_in(lambda: search.fit(X, y, sample_domain=sample_domain)) == {"_transfer_search.py": 1}


def test_of_a_search_only_the_strategies_read_again(data):
    X, y, sample_domain = data
    search = TransferSearchCV(None, ["coral"], cv=2, random_state=0)
    counts = reads_in(lambda: search.fit(X, y, sample_domain=sample_domain))
    # An AdaptedClassifier and the adapter inside of it, each of them once a fit.
    assert set(counts) == {"_transfer_search.py", "_adapted_mixin.py", "base.py"}
    assert counts["_transfer_search.py"] == 1
    assert counts["_adapted_mixin.py"] == counts["base.py"] <= 3


def test_a_report_reads_domains_once(data):
    X, y, sample_domain = data
    plain = LogisticRegression(), LogisticRegression(C=0.1)
    options = {"sample_domain": sample_domain, "cv": 3, "random_state": 0}
    assert reads_in(lambda: negative_transfer_report(*plain, X, y, **options)) == {"_negative_transfer.py": 1}
    adapted = AdaptedClassifier(LogisticRegression(), CORALAdapter()), plain[0]
    counts = reads_in(lambda: negative_transfer_report(*adapted, X, y, **options, label_sizes=None))
    assert counts == {"_negative_transfer.py": 1, "_adapted_mixin.py": 3, "base.py": 3}
