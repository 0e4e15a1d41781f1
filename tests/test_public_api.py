"""Nothing public changes silently: the names stand here, and their documentation agrees with them."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import sktransfer

CLASSES = (
    "ADDAClassifier",
    "AFNClassifier",
    "AdaBNClassifier",
    "AdaptedClassifier",
    "AdaptedRegressor",
    "AudioBackbone",
    "BNMClassifier",
    "BSS",
    "BackboneSearch",
    "CDANClassifier",
    "CORALAdapter",
    "CircularValidationScorer",
    "ClassConfusionScorer",
    "CoTuning",
    "ColumnMappingAdapter",
    "CoverageDisplay",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DELTA",
    "DEVScorer",
    "DSANClassifier",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "DeepJDOTClassifier",
    "DomainClassifierWeighter",
    "DomainKFold",
    "DomainShiftDisplay",
    "DomainStandardizer",
    "EasyTLClassifier",
    "FeatureAugmentationAdapter",
    "FeatureCache",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "FineTunedSegmenter",
    "FixMatchClassifier",
    "FourierAdapter",
    "GFKAdapter",
    "GradCAMDisplay",
    "ImageBackbone",
    "ImportanceWeightedScorer",
    "InformationMaximizationScorer",
    "JANClassifier",
    "KLIEPWeighter",
    "KMMWeighter",
    "L2SP",
    "LAMEClassifier",
    "LabelEfficiencyDisplay",
    "LabelShiftWeighter",
    "LearningHistoryDisplay",
    "LeaveOneDomainOut",
    "LwF",
    "MCCClassifier",
    "MCDClassifier",
    "MDDClassifier",
    "MEDAClassifier",
    "MMDAdapter",
    "MixValScorer",
    "NearestNeighborWeighter",
    "NegativeTransferDisplay",
    "NeighborhoodAgreementScorer",
    "OSBPClassifier",
    "OTAdapter",
    "PADAClassifier",
    "PixelAdapter",
    "PixelClassifier",
    "PredictionEntropyScorer",
    "PretrainedFeatureExtractor",
    "PrototypeClassifier",
    "RKD",
    "Recipe",
    "RuLSIFWeighter",
    "SHOTClassifier",
    "SegmentationDisplay",
    "SelfSupervisedBackbone",
    "SoftNeighborhoodDensityScorer",
    "SourceSelector",
    "SourceTargetShuffleSplit",
    "StochNorm",
    "StratifiedDomainShuffleSplit",
    "SubspaceAlignmentAdapter",
    "TENTClassifier",
    "TextBackbone",
    "TimeDomainSplit",
    "TokenSaliencyDisplay",
    "TrAdaBoostClassifier",
    "TrAdaBoostRegressor",
    "TransferEvidenceScorer",
    "TransferSearchCV",
    "TransferabilityDisplay",
    "TransferredForestClassifier",
    "TransferredGradientBoostingClassifier",
    "TransferredGradientBoostingRegressor",
    "TransferredLogisticRegression",
    "TransferredRidge",
    "WeightedConformalClassifier",
    "WeightedConformalRegressor",
)
FUNCTIONS = (
    "class_conditional_distance",
    "class_confusion_score",
    "class_proportions",
    "clear_cache",
    "coral_distance",
    "duplicate_pairs",
    "energy_distance",
    "export_onnx",
    "frechet_distance",
    "gbc_score",
    "grad_cam",
    "h_score",
    "information_maximization_score",
    "keep_freed_memory",
    "label_shift_distance",
    "labeled_scorer",
    "leep_score",
    "list_backbones",
    "load_backbone",
    "load_folder",
    "logme_score",
    "make_domain_shift",
    "make_image_domains",
    "mean_iou_scorer",
    "mmd_distance",
    "nce_score",
    "negative_transfer_report",
    "neighborhood_agreement_score",
    "nleep_score",
    "object_features",
    "oracle_scorer",
    "pack_domains",
    "parc_score",
    "pixel_accuracy_scorer",
    "prediction_entropy_score",
    "proxy_a_distance",
    "rank_backbones",
    "return_accuracy_score",
    "select_for_labeling",
    "sfda_score",
    "soft_neighborhood_density_score",
    "transfer_evidence",
    "transrate_score",
    "wasserstein_distance",
)
ERRORS = (
    "CacheWarning",
    "DivergenceError",
    "DomainError",
    "InvalidAudioError",
    "InvalidImageError",
    "InvalidImageWarning",
    "InvalidSampleError",
    "InvalidSampleWarning",
    "InvalidTextError",
    "NegativeTransferWarning",
    "WeightsMismatchError",
    "WeightsNotFoundError",
)
ROOMS = (
    "adaptation",
    "backbones",
    "datasets",
    "deep_adaptation",
    "dense",
    "feature_extraction",
    "few_labels",
    "fine_tuning",
    "inspection",
    "metrics",
    "model_selection",
    "parameter_transfer",
    "picture_adaptation",
    "self_supervised",
    "weighting",
)
DOCS = Path(__file__).resolve().parents[1] / "docs"


def sections(docstring):
    """Split a numpydoc text into its sections by heading."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented_parameters(docstring):
    """Name -> type line of the Parameters section; "a, b : int" documents two."""
    text = sections(docstring).get("Parameters", "")
    found = {}
    for names, kind in re.findall(r"^(\*{0,2}\w+(?:, \w+)*)(?: : (.*))?$", text, flags=re.MULTILINE):
        found.update(dict.fromkeys(names.replace("*", "").split(", "), kind))
    return found


def test_names():
    assert set(sktransfer.__all__) == {*CLASSES, *FUNCTIONS, "__version__"}


def test_errors():
    assert set(sktransfer.exceptions.__all__) == set(ERRORS)


@pytest.mark.parametrize("name", sorted(sktransfer.__all__))
def test_names_can_be_imported_and_listed(name):
    assert getattr(sktransfer, name) is not None
    assert name in dir(sktransfer)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        sktransfer.Nonsense  # noqa: B018


@pytest.mark.parametrize("name", sorted({*CLASSES, *FUNCTIONS}))
def test_names_come_from_a_public_room(name):
    if name in ("FeatureCache", "Recipe", "clear_cache", "keep_freed_memory"):
        return  # of the frozen features' store, of the engine and of the allocator, whose rooms are private
    rooms = [importlib.import_module(f"sktransfer.{room}") for room in ROOMS]
    assert sum(name in room.__all__ for room in rooms) == 1


@pytest.mark.parametrize("name", sorted({*CLASSES, *FUNCTIONS, *ERRORS}))
def test_names_are_in_the_api_page(name):
    assert re.search(rf"^\s+(?:base\.|exceptions\.)?{name}$", (DOCS / "api.rst").read_text(), flags=re.MULTILINE)


def test_api_page_promises_nothing_else():
    listed = re.findall(r"^ {4}(?:base\.|exceptions\.)?(\w+)$", (DOCS / "api.rst").read_text(), flags=re.MULTILINE)
    assert set(listed) <= {*CLASSES, *FUNCTIONS, *ERRORS, "BaseAdapter", "BaseWeighter"}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_documented(name):
    cls = getattr(sktransfer, name)
    assert {"Parameters", "References", "Examples"} <= set(sections(cls.__doc__))
    if hasattr(cls, "fit") or hasattr(cls, "plot"):
        assert {"Attributes", "See Also"} <= set(sections(cls.__doc__))
    for method, value in inspect.getmembers(cls, inspect.isroutine):
        if not method.startswith("_") and value.__module__.startswith("sktransfer"):
            assert value.__doc__, f"{name}.{method} says nothing"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_documented(name):
    function = getattr(sktransfer, name)
    found = set(sections(function.__doc__))
    assert "Examples" in found
    assert "Parameters" in found or not inspect.signature(function).parameters
    assert "Returns" in found or inspect.signature(function).return_annotation is None


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_documented_parameters_and_defaults_are_those_of_the_signature(name):
    value = getattr(sktransfer, name)
    documented = documented_parameters(value.__doc__)
    parameters = inspect.signature(value).parameters
    assert list(documented) == list(parameters)
    for parameter in parameters.values():
        stated = re.search(r"default=(.+)$", documented[parameter.name] or "")
        if parameter.default is inspect.Parameter.empty:
            assert stated is None, f"{name}: {parameter.name} has no default"
        else:
            assert stated, f"{name}: the default of {parameter.name} is not documented"
            default = "nan" if parameter.default is np.nan else parameter.default
            assert (stated[1] if default == "nan" else ast.literal_eval(stated[1])) == default, (name, parameter.name)


@pytest.mark.parametrize("name", CLASSES)
def test_only_the_first_two_parameters_are_positional(name):
    kinds = [parameter.kind for parameter in inspect.signature(getattr(sktransfer, name)).parameters.values()]
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2


def test_readme_names_what_exists():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "sktransfer":
                assert {alias.name for alias in node.names} <= set(sktransfer.__all__)
    table = re.search(r"## What is in it\n(.*?)\n\n\w", readme, flags=re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", table)) == {*CLASSES, *FUNCTIONS}
