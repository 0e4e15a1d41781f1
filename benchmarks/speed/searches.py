"""A grid search over heads of a frozen network, from JPEG files."""

import tempfile

import numpy as np

from speed._job import Job
from speed._pictures import write_pictures

__all__ = ["JOBS"]

_N_PICTURES, _FOLDS, _EPOCHS, _CANDIDATES = 300, 5, 5, (0.01, 0.1, 1.0, 10.0)
_BACKBONE = "mobilenetv2_100"
_held = []


def _data():
    import torch

    torch.set_num_threads(1)
    folder, paths = write_pictures(_N_PICTURES)
    _held.append(folder)
    return np.array(paths), np.arange(_N_PICTURES) % 4


def _search(cache, forget):
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sktransfer import PretrainedFeatureExtractor, clear_cache

    X, y = _data()
    extractor = PretrainedFeatureExtractor(_BACKBONE, weights=None, cache=cache, n_jobs=1)
    pipe = make_pipeline(extractor, StandardScaler(), LogisticRegression(max_iter=100))
    extractor.fit(X).transform(X[:4])

    def call():
        if forget:
            clear_cache(None if cache == "memory" else cache)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search = GridSearchCV(pipe, {"logisticregression__C": _CANDIDATES}, cv=_FOLDS).fit(X, y)
        return search.cv_results_["mean_test_score"]

    return call


def _ours():
    return _search("memory", forget=True)


def _again():
    folder = tempfile.TemporaryDirectory(prefix="sktransfer_bench_")
    _held.append(folder)
    call = _search(folder.name, forget=False)
    call()
    return call


def _skorch():
    import torch
    from PIL import Image
    from skorch import NeuralNetClassifier
    from torch import nn

    from sktransfer import load_backbone

    X, y = _data()
    module = load_backbone(_BACKBONE, weights=None).module
    import timm.data

    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module))

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, X, y=None):
            self.X, self.y = X, y

        def __len__(self):
            return len(self.X)

        def __getitem__(self, i):
            label = 0 if self.y is None else int(self.y[i])
            return transform(Image.open(self.X[i]).convert("RGB")), label

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = module, nn.Linear(module.num_features, 4)

        def forward(self, x):
            return self.head(self.backbone.forward_head(self.backbone.forward_features(x), pre_logits=True))

    train = np.arange(_N_PICTURES) % _FOLDS != 0

    def call():
        torch.manual_seed(0)
        net = NeuralNetClassifier(
            Net, criterion=nn.CrossEntropyLoss, max_epochs=_EPOCHS, batch_size=32, dataset=Pictures, train_split=None,
            classes=np.arange(4), verbose=0,
        )  # fmt: skip
        net.fit(X[train], y[train])
        return net.predict(X[~train])

    return call


def _check(results):
    np.testing.assert_array_equal(results["ours"], results["ours, from the disk"])
    return "equal scores from memory and from the disk"


_test = _N_PICTURES / _FOLDS
_train = _N_PICTURES - _test
_one_fit = _train * _EPOCHS + _test
_all_fits = _FOLDS * len(_CANDIDATES) * _one_fit + _N_PICTURES * _EPOCHS

JOBS = {
    "grid": Job(
        title=f"{_FOLDS} folds x {len(_CANDIDATES)} candidates x {_EPOCHS} epochs, frozen {_BACKBONE} at 224 px",
        sides={"ours": _ours, "ours, from the disk": _again, "skorch in GridSearchCV": _skorch},
        goals={("ours", "skorch in GridSearchCV"): 300, ("ours, from the disk", "skorch in GridSearchCV"): 1000},
        check=_check,
        rounds=2,
        warm_up=False,
        share={"skorch in GridSearchCV": _all_fits / _one_fit},
        note=f"{_N_PICTURES} JPEG files of 500 x 375 pixels, one thread. Ours: GridSearchCV over C of a pipeline of "
        "extractor, scaling and logistic regression. skorch: a linear layer on the network in eval mode; one fit of "
        f"{_EPOCHS} epochs and one prediction are timed and multiplied by {_all_fits / _one_fit:.1f}, the pictures "
        "that pass the network in all fits over those of one",
    ),
}
