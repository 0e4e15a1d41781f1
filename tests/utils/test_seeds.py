import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sktransfer.utils._seeds import set_random_states


def test_only_missing_seeds_are_set():
    pipe = make_pipeline(RandomForestClassifier(), DecisionTreeClassifier(random_state=7))
    assert set_random_states(pipe, np.random.RandomState(0)) is pipe
    assert pipe[0].random_state == set_random_states(RandomForestClassifier(), np.random.RandomState(0)).random_state
    assert pipe[1].random_state == 7
    scaler = StandardScaler()
    assert set_random_states(scaler, np.random.RandomState(0)) is scaler
