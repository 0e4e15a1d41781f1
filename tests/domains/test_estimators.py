import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import AdaptedClassifier, CORALAdapter, make_domain_shift
from sktransfer.domains import check_domains, domain_parameters, fit_on_domains


def test_who_takes_domains():
    names = np.array(["a", "target"])
    adapted = AdaptedClassifier(LogisticRegression(), CORALAdapter())
    assert list(domain_parameters(adapted, names)) == ["sample_domain"]
    assert domain_parameters(LogisticRegression(), names) == {}
    pipe = make_pipeline(StandardScaler(), CORALAdapter(), adapted)
    assert list(domain_parameters(pipe, names)) == ["coraladapter__sample_domain", "adaptedclassifier__sample_domain"]
    search = GridSearchCV(make_pipeline(StandardScaler(), adapted), {})
    assert list(domain_parameters(search, names)) == ["adaptedclassifier__sample_domain"]
    assert domain_parameters(GridSearchCV(LogisticRegression(), {}), names) == {}
    with sklearn.config_context(enable_metadata_routing=True):
        assert list(domain_parameters(search, names)) == ["sample_domain"]


def test_without_domains_the_source_teaches_alone():
    X, y, sample_domain = make_domain_shift(random_state=0)
    domains = check_domains(sample_domain)
    source = domains.is_source
    alone = LogisticRegression().fit(X[source], y[source])
    assert (fit_on_domains(LogisticRegression(), X, y, domains).coef_ == alone.coef_).all()
    adapted = AdaptedClassifier(LogisticRegression(), CORALAdapter())
    expected = AdaptedClassifier(LogisticRegression(), CORALAdapter()).fit(X, y, sample_domain=sample_domain)
    for estimator in (adapted, make_pipeline(adapted)):
        fitted = fit_on_domains(estimator, X, y, domains)
        assert (fitted.predict(X) == expected.predict(X)).all()
