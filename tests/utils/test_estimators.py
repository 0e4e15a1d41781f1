import numpy as np
import sklearn
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktransfer.utils._estimators import set_random_states, weight_parameter


def test_weight_parameter():
    assert weight_parameter(LogisticRegression()) == "sample_weight"
    assert weight_parameter(KNeighborsClassifier()) is None
    assert (
        weight_parameter(make_pipeline(StandardScaler(), LogisticRegression())) == "logisticregression__sample_weight"
    )
    assert weight_parameter(make_pipeline(StandardScaler(), KNeighborsClassifier())) is None
    with sklearn.config_context(enable_metadata_routing=True):
        assert weight_parameter(make_pipeline(LogisticRegression())) is None


def test_only_missing_seeds_are_set():
    pipe = make_pipeline(RandomForestClassifier(), DecisionTreeClassifier(random_state=7))
    assert set_random_states(pipe, np.random.RandomState(0)) is pipe
    assert pipe[0].random_state == set_random_states(RandomForestClassifier(), np.random.RandomState(0)).random_state
    assert pipe[1].random_state == 7
    scaler = StandardScaler()
    assert set_random_states(scaler, np.random.RandomState(0)) is scaler
