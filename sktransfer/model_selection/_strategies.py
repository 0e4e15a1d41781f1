"""The strategies that a search tries, from the cheapest to the dearest."""

from collections.abc import Mapping
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from sktransfer._nets import Recipe
from sktransfer.adaptation import AdaptedClassifier, CORALAdapter, MMDAdapter, SubspaceAlignmentAdapter
from sktransfer.backbones import AudioBackbone, TextBackbone
from sktransfer.feature_extraction import PretrainedFeatureExtractor
from sktransfer.few_labels import PrototypeClassifier
from sktransfer.fine_tuning import FineTunedClassifier
from sktransfer.model_selection._baselines import altered, kind_of, without_transfer
from sktransfer.utils._deviations import ColumnScaler
from sktransfer.weighting import LabelShiftWeighter

__all__ = ["ON_REQUEST", "features_of", "make_strategies"]

# Known by name, but not tried unless asked for. From scratch has never paid with few pictures, and costs as much as all
# others; "lora" needs a package that may not be there; "gradual" ends near "full".
ON_REQUEST = ("gradual", "lora", "from_scratch")

_ADAPTERS = {
    "coral": CORALAdapter,
    "subspace_alignment": SubspaceAlignmentAdapter,
    "jda": lambda **params: MMDAdapter(30, kernel="primal", conditional=0.5, **params),
    "label_shift": LabelShiftWeighter,
}
_DEEP = ("MCC", "BNM", "DSAN")


def make_strategies(
    *, with_target: bool, reading: Mapping[str, Any] | None, training: Mapping[str, Any], target_domain: Any, seed: int
) -> tuple[dict[str, Any], str]:
    """Make one unfitted estimator for each strategy.

    Parameters
    ----------
    with_target : bool
        Whether there is a target domain to adapt to.
    reading : mapping or None
        Parameters of the feature extractor; None for tables.
    training : mapping
        Parameters of the networks that are trained.
    target_domain : label or list of labels
        Which domains are the target.
    seed : int
        Random state of all of them.

    Returns
    -------
    strategies : dict of str to estimator
        Cheapest first.
    baseline : str
        Which of them is no transfer.
    """
    made = _to_target(reading, target_domain) if with_target else _to_new_classes(reading)
    if reading is not None:
        training = {**reading, **training, "random_state": seed}
        made |= _tuned(training, with_target)
    else:
        training = {**training, "backbone": None, "random_state": seed}
    if with_target:
        from sktransfer import deep_adaptation

        for name in _DEEP:
            method = getattr(deep_adaptation, f"{name}Classifier")
            made[name.lower()] = method(**training, target_domain=target_domain)
    return made, "no_adaptation" if with_target else "no_transfer"


def features_of(reading: Mapping[str, Any]) -> PretrainedFeatureExtractor:
    """Make the extractor that all frozen strategies share, through the cache."""
    return PretrainedFeatureExtractor(**reading)


def _linear() -> LogisticRegression:
    return LogisticRegression(max_iter=1000)


def _to_new_classes(reading):
    made = {
        "no_transfer": make_pipeline(*without_transfer(reading), _linear()),
        # First in line: with few labels it is ahead of what follows, and as cheap.
        "frozen_prototypes": make_pipeline(features_of(reading), PrototypeClassifier(guard=False)),
        "frozen_linear": make_pipeline(features_of(reading), ColumnScaler(), _linear()),
        "frozen_knn": make_pipeline(features_of(reading), KNeighborsClassifier(metric="cosine", weights="distance")),
    }
    if issubclass(kind_of(reading), AudioBackbone):  # late layers averaged over time lose words
        early = features_of(reading).set_params(layer=-3, pooling="time")
        made["frozen_time"] = make_pipeline(early, ColumnScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return made


def _to_target(reading, target_domain):
    first = [] if reading is None else [features_of(reading)]
    # The search judges, so that prototypes need no guard of their own.
    prototypes = PrototypeClassifier(target_domain=target_domain, guard=False)
    made: dict[str, Pipeline] = {
        "no_adaptation": make_pipeline(*first, ColumnScaler(), _linear()),
        "prototypes": make_pipeline(*first, prototypes),
    }
    for name, adapter in _ADAPTERS.items():
        adapted = AdaptedClassifier(_linear(), adapter(target_domain=target_domain))
        made[name] = make_pipeline(*first, ColumnScaler(), adapted)
    return made


def _tuned(training, with_target):
    """Networks trained by the recipes of these names; "last_stages" by the one that is nobody's choice."""
    if with_target:
        return {"head": FineTunedClassifier(**training, recipe="head")}
    made = {
        "head": FineTunedClassifier(**training, recipe="head"),
        "last_stages": FineTunedClassifier(**training, trainable=2),
        **{name: FineTunedClassifier(**training, recipe=name) for name in ("full", "lp-ft", "gradual", "lora")},
    }
    if not issubclass(kind_of(training), TextBackbone):  # whose words are in the weights
        scratch = Recipe(trainable="all", schedule="cosine", lr=3e-3)
        made["from_scratch"] = FineTunedClassifier(**altered(training, weights=None), recipe=scratch)
    return made
