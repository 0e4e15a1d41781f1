"""Parameters and attributes that many classes share, written into each of them: ``python tools/shared_parameters.py``.

What a class has for itself is written by hand in its file; what it shares stands here once, and is written into its
signature and its docstring, so that readers, editors and searches find it there. ``--check`` writes nothing, and names
the classes that differ from this table. A class that has a shared parameter in words of its own, or with another
default, is in `OWN`.
"""

import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "sktransfer"
ROOMS = ("deep_adaptation", "fine_tuning")

# Annotation and default; the type in words; what it is. What follows @ tells families apart that say it otherwise.
PARAMETERS = r"""
backbone@fine_tuned: str | nn.Module | BaseEstimator = "resnet18"
    str, ImageBackbone, torch.nn.Module or fitted estimator
    A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
    own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; see
    :func:`~sktransfer.load_backbone`. An :class:`~sktransfer.ImageBackbone` says of these what their channels and
    values mean, too. ``"text:NAME"`` or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
    :class:`~sktransfer.AudioBackbone` where it holds recordings.

backbone@deep: str | nn.Module | BaseEstimator | None = "resnet18"
    str, ImageBackbone, torch.nn.Module, fitted estimator or None
    A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
    own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
    :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too. ``"text:NAME"``
    or a :class:`~sktransfer.TextBackbone` where X holds texts, ``"audio:NAME"`` or an
    :class:`~sktransfer.AudioBackbone` where it holds recordings. None for tables: X is then a numeric array of shape
    (n_samples, n_features), whose rows enter at `bottleneck`.

estimator: BaseEstimator | str | os.PathLike[str]
    fitted classifier, str or path-like
    The source model: a fitted :class:`FineTunedClassifier`, :class:`DANNClassifier` or the like, or the path of a
    file that its ``save`` wrote. It is never changed, and clones share it.

class_weight: Mapping[Any, float] | str | None = None
    dict, "balanced" or None
    Weights of the classes in the loss of the labels, at least 0; ``"balanced"`` is inversely proportional to their
    frequencies.

trade_off: float = 1.0
    float
    Weight of the adaptation against the loss of the labels; 0 is training on the source alone.

trade_off_schedule: str = "ramp"
    {"ramp", "constant"}
    Whether that weight grows with the share p of the training that is over, times 2 / (1 + exp(-10 p)) - 1, or is the
    same from the first step.

bottleneck: int | Sequence[int] | None = 256
    int, sequence of int or None
    Widths of new layers (linear, BatchNorm, ReLU) between the pooled features and the head, whose output is what is
    adapted; None adapts the pooled features.

statistics: str = "separate"
    {"separate", "shared"}
    Whether BatchNorm layers that learn normalise each domain by its own mean and variance, and by those of the target
    in the end, or both domains together. Separate ones take away what moves or scales the features of all classes
    alike, and presume that the classes are about as frequent in both domains.

smoothness: float = 0.0
    float
    Distance by which the weights go up the loss of the labels before the gradient of each step is taken (SDAT, Rangwani
    et al., ICML 2022, who take 0.02 to 0.05), for which every batch passes twice; 0 for none.

sources: str = "pooled"
    {"pooled", "separate"}
    Whether several source domains are adapted to the target as one, or each by itself with equal weight.

use_target_labels: bool = False
    bool
    Whether target rows that have a label are learned from beside the source rows. If not, no label of a target row is
    read.

target_weight: float = 1.0
    float
    Weight of the labelled target rows, taken together, against that of the source rows in the loss of the labels, where
    ``use_target_labels=True``; 1 counts both alike, however few they are.

guard: bool = False
    bool
    Whether to stand back to training on the source alone, with a ``NegativeTransferWarning``, where
    :func:`transfer_evidence` on the unlabelled target rows does not speak for the adaptation. Trains twice.

target_domain: Any = "target"
    label or list of labels
    Domains that are the target.

weights: str | os.PathLike[str] | None = "pretrained"
    str, path-like or None
    ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.

recipe: str | Recipe = "auto"
    {"auto", "head", "full", "lp-ft", "gradual", "lora"} or Recipe
    How the network is trained, by name or in every particular; see :class:`Recipe`. What was taken is in
    ``recipe_``. What is said by the next five parameters comes before it; None there is "as the recipe says".

trainable: str | int | Sequence[str] | None = None
    {"head", "all", "norm", "bias", "lora"}, int, list of str or None
    What learns beside what is new: nothing, everything, the normalisation layers, the biases, low-rank additions; the
    last k stages; or the parameters whose timm names fit one of the patterns. With ``"head"`` and with the last
    stages everything before runs once per picture.

max_epochs@fine_tuned: int | None = None
    int or None
    Passes over the training pictures after the probe; fewer with `early_stopping`.

max_epochs@deep: int | None = None
    int or None
    Passes over the larger of source and target.

batch_size@fine_tuned: int | None = None
    int or None
    Pictures a step.

batch_size@deep: int | None = None
    int or None
    Source rows a step, and as many target rows; at least 2.

lr: float | str | None = None
    float, "auto" or None
    Learning rate of all that learns; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``. None is
    as the recipe says, or the network where the recipe is a name: what was pretrained then learns more slowly.

augment: str | Callable | None = None
    {"light", "default", "trivial", "randaug", "spec", "strong", "none"}, callable or None
    Random changes of the training samples, as in :class:`Recipe`, which says what goes with pictures, texts and
    recordings; ``"none"`` for none where the recipe has some.

validation_fraction: float = 0.1
    float
    Share of the training pictures held out, of each class alike, where `early_stopping` and no `X_val` is passed to
    :meth:`fit`.

early_stopping: bool = False
    bool
    Stop when the loss on held-out pictures no longer falls, or the first score of `scoring` no longer rises, and
    restore the weights of the best epoch.

n_iter_no_change: int = 10
    int
    Epochs without a better one before training stops.

scoring: str | Callable | Sequence[str | Callable] | None = None
    str, callable, list of these or None
    What of the held-out pictures is computed after each epoch beside their loss, into ``history_`` as
    ``valid_NAME``: names of scikit-learn's scorers, or functions of an estimator that predicts, row numbers and y. Each
    picture counts alike.

checkpoint_dir: str | os.PathLike[str] | None = None
    path-like or None
    Folder that takes the state of the training after each epoch. A fit that was killed and is called again with the
    same parameters and data goes on from there; one that had ended gives its result at once. A folder belongs to one
    training: leave it None in searches and cross-validation.

warm_start: bool = False
    bool
    Begin the next :meth:`fit` with the weights of the last.

n_views: int = 1
    int
    Views of each picture over which scores and features are averaged after the training, from 1 to 12: the picture, its
    mirror image, and the same of five crops of seven eighths of the height and width. Every view passes the network.

image_size: int | tuple[int, int] | None = None
    int, tuple of int or None
    Height and width in pixels at which the network sees the pictures; None takes its own.

image_shape: tuple[int, ...] | None = None
    tuple of int or None
    Shape of flattened pictures, or of arrays whose channel axis cannot be told.

device: Any = "auto"
    str or torch.device
    ``"auto"`` takes cuda, mps or cpu, whichever there is.

precision: str = "auto"
    {"auto", "float32", "bfloat16", "float16"}
    Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.

cache: str | os.PathLike[str] | FeatureCache | None = "memory"
    {"memory"}, path-like, FeatureCache or None
    Where the output of the frozen part is kept; see :class:`FeatureCache`. Where the whole network learns and nothing
    is augmented, up to 512 MiB of prepared pictures are kept in memory during :meth:`fit`; None keeps nothing.

n_jobs: int | None = None
    int or None
    Threads that decode pictures ahead of the network.

on_error: str = "raise"
    {"raise", "drop"}
    What is done about pictures that cannot be read: an error that names the row, or, with ``"drop"``, :meth:`fit`
    leaves them out with a warning (every picture is read once more for that), probabilities, numbers and features are
    NaN for them, and where a class has to be predicted the first is named.

random_state: int | np.random.RandomState | None = None
    int, RandomState instance or None
    Draws the new layers, the order of the rows, the augmentation and the held-out part, as far as there are any. The
    same seed gives the same model on a CPU; global random states are left alone.

verbose: int = 0
    int
    Show progress bars if not 0.

callbacks: Sequence[Any] | None = None
    list of skorch callbacks or None
    Called during training as skorch calls them, alone or in pairs of a name and a callback; copies are used. One that
    could not do here what it is for is refused by name. For scikit-learn's own see ``set_callbacks``.
"""
ATTRIBUTES = r"""
classes_ : ndarray of shape (n_classes,)
    The labels.

target_mean_, target_scale_@fine_tuned : ndarray of shape (n_outputs,)
    Mean and standard deviation of the targets, weighted like the pictures.

target_mean_, target_scale_@deep : ndarray of shape (1,)
    Mean and standard deviation of the targets that were learned from.

evidence_, fell_back_ : dict or None, bool
    What :func:`transfer_evidence` found, None where it could not be had, with a ``FitFailedWarning``; and whether the
    guard stood back, so that all else is of the training without adaptation. With ``guard=True`` only.

minus_one_is_missing_ : bool
    Whether -1 in integer labels means "no label" in :meth:`score`; not where it is one of the classes.

source_domains_ : list
    Names of the source domains.

backbone_ : Backbone
    The network as it was before training; where X is a table, what hands on its columns.

net_ : skorch.NeuralNet
    Holds the trained part.

plan_ : TrainingPlan
    Where training begins, and the names of the backbone's parameters that learned.

recipe_ : Recipe
    How the network was trained, in every particular.

history_@fine_tuned : list of dict
    One entry an epoch: ``epoch``, ``phase`` ("probe", "unfreeze k" or "train"), ``trained_parameters``, ``train_loss``,
    ``penalty`` (what is added to the loss of the labels, part of ``train_loss``), ``valid_loss`` where there are
    held-out pictures, ``lr`` (of the last step), ``dur`` (seconds) and the numbers of batches.

history_@deep : list of dict
    One entry an epoch: ``epoch``, ``phase`` ("probe", "unfreeze k" or "train"), ``trained_parameters``, ``train_loss``,
    ``penalty`` (what is added to the loss of the labels, part of ``train_loss``), ``discriminator_accuracy`` (0.5 where
    it is fooled) and ``discrepancy`` (of two classifiers) where the method has such, ``lr`` (of the last step), ``dur``
    (seconds) and the numbers of batches.

n_iter_ : int
    Epochs run.

score_names_ : list of str
    Names in ``history_`` of what `scoring` asked for.

lr_ : float
    Learning rate.

lr_range_ : dict of ndarray
    ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.

input_spec_ : InputSpec
    What was learned about the input, where it is pictures.

n_features_in_ : int
    Number of columns, where X was a table or the pictures came flattened.

feature_names_in_ : ndarray of str
    Names of the columns, where X was a data frame with string names.
"""

_PLACES = ("device", "precision", "n_jobs", "on_error")
_TRAINED = ("weights", "recipe", "trainable", "max_epochs", "batch_size", "lr", "augment")
_READ = ("image_size", "image_shape", "device", "precision", "cache", "n_jobs", "on_error")
_ENDS = ("random_state", "verbose", "callbacks")
_HELD_OUT = ("validation_fraction", "early_stopping", "n_iter_no_change", "scoring")
_FINE_TUNED = (*_TRAINED, *_HELD_OUT, "checkpoint_dir", "warm_start", "n_views", *_READ, *_ENDS)
_DOMAINS = ("trade_off", "trade_off_schedule", "bottleneck", "sources", "use_target_labels", "target_weight")
_DEEP = (*_DOMAINS, "target_domain", *_TRAINED, "checkpoint_dir", *_READ, *_ENDS)
_DEEP_CLASSES = (*_DOMAINS, "guard", "target_domain", *_TRAINED, "checkpoint_dir", *_READ, *_ENDS)
_ADVERSARIAL = ("statistics", "smoothness")
_NET = ("backbone_", "net_", "plan_")
_TRAINING = ("history_", "n_iter_", "lr_")
_INPUT = ("input_spec_", "n_features_in_", "feature_names_in_")
_SCALE = "target_mean_, target_scale_"


class Family(NamedTuple):
    """What classes share, by name and in this order; the first parameter is the one that may be given by position."""

    name: str
    parameters: tuple[str, ...]
    attributes: tuple[str, ...] = ()


_FITTED = (*_NET, "recipe_", *_TRAINING, "lr_range_", *_INPUT)
_HELD = (*_NET, "recipe_", *_TRAINING, "score_names_", "lr_range_", *_INPUT)
_ADAPTED = ("minus_one_is_missing_", "source_domains_", *_FITTED)
_OF_CLASSES = ("classes_", "evidence_, fell_back_", *_ADAPTED)
_BY_ADVERSARIES = Family("deep", ("backbone", "class_weight", *_ADVERSARIAL, *_DEEP_CLASSES), _OF_CLASSES)
CLASSES = {
    "FineTunedClassifier": Family("fine_tuned", ("backbone", "class_weight", *_FINE_TUNED), _HELD),
    "FineTunedRegressor": Family("fine_tuned", ("backbone", *_FINE_TUNED), (_SCALE, *_HELD)),
    "DANNRegressor": Family("deep", ("backbone", *_ADVERSARIAL, *_DEEP), (_SCALE, *_ADAPTED)),
    **dict.fromkeys(
        ("DANNClassifier", "CDANClassifier", "ADDAClassifier", "MCDClassifier", "MDDClassifier", "PADAClassifier"),
        _BY_ADVERSARIES,
    ),
    "OSBPClassifier": _BY_ADVERSARIES,
    "AdaBNClassifier": Family("source_free", ("estimator", *_PLACES, "verbose")),
}
BASES = {  # of all other classes
    "DeepClassifier": Family("deep", ("backbone", "class_weight", *_DEEP_CLASSES), _OF_CLASSES),
    "DeepRegressor": Family("deep", ("backbone", *_DEEP), (_SCALE, *_ADAPTED)),
    "SourceFreeClassifier": Family("source_free", ("estimator", "checkpoint_dir", *_PLACES, *_ENDS)),
}
# Shared parameters and attributes that a class has in its own words, or with another default.
OWN = {
    "AFNClassifier": {"trade_off"},
    "DANClassifier": {"trade_off"},
    "DeepCORALClassifier": {"trade_off"},
    "DeepCORALRegressor": {"trade_off"},
    "JANClassifier": {"trade_off"},
    "MDDClassifier": {"trade_off", "statistics"},
    "OSBPClassifier": {"classes_", "statistics"},
    "PADAClassifier": {"trade_off", "statistics"},
}


class Parameter(NamedTuple):
    """One line of a signature, and one entry of a docstring."""

    annotation: str
    default: str | None
    entry: str

    def line(self, name: str) -> str:
        """Give the line of the signature."""
        return f"{name}: {self.annotation}" + ("" if self.default is None else f" = {self.default}")


def read_parameters(text: str = PARAMETERS) -> dict[str, Parameter]:
    """Read the table of parameters: by name, with its family where there are several."""
    found = {}
    for block in text.strip().split("\n\n"):
        head, kind, *lines = block.splitlines()
        name, rest = head.split(": ", 1)
        annotation, _, default = rest.partition(" = ")
        told = kind.strip() + (f", default={default}" if default else "")
        found[name] = Parameter(annotation, default or None, _entry(f"{name} : {told}", lines))
    return found


def read_attributes(text: str = ATTRIBUTES) -> dict[str, str]:
    """Read the table of attributes: entries of docstrings by name, with their family where there are several."""
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return {head.partition(" : ")[0]: _entry(head, lines) for head, *lines in blocks}


def _entry(head, lines):
    """Fill the lines of an entry, as wide as they may be where a docstring is indented by four."""
    name, _, kind = head.partition(" : ")
    words = " ".join(line.strip() for line in lines)
    body = textwrap.fill(words, 112, break_long_words=False, break_on_hyphens=False)
    return f"{name.partition('@')[0]} : {kind}\n" + textwrap.indent(body, "    ")


def family_of(node: ast.stmt) -> Family | None:
    """Find what a class shares; None for nothing."""
    if not isinstance(node, ast.ClassDef):
        return None
    if node.name in BASES and any(getattr(base, "id", "") == "DeepEstimator" for base in node.bases):
        return BASES[node.name]  # for methods of the user's own
    bases = [BASES[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in BASES]
    return CLASSES.get(node.name, bases[0] if bases else None)


def rewritten(source: str) -> tuple[str, list[str]]:
    """Write the table into the classes of a file; give its text, and the names of those that differed."""
    changed = []
    for name, family in [(node.name, family_of(node)) for node in ast.parse(source).body if family_of(node)]:
        text = _with_signature(source, _class(source, name), family)
        text = _with_docstring(text, _class(text, name), family)
        if text != source:
            changed.append(name)
        source = text
    return source, changed


def _class(source, name):
    return next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)


def _init(node):
    return next((part for part in node.body if getattr(part, "name", None) == "__init__"), None)


def _look_up(table, name, family):
    return table[name] if name in table else table[f"{name}@{family.name}"]


def _shared(node, family):
    """Parameters of the table that are not in the words of the class, by name and in order."""
    table, own = read_parameters(), OWN.get(node.name, set())
    return {name: _look_up(table, name, family) for name in family.parameters if name not in own}


def _with_signature(source, node, family):
    shared, init = _shared(node, family), _init(node)
    first, *rest = family.parameters
    lines = {} if init is None else _own_lines(source, init, shared)
    order = [first, *lines, *(name for name in rest if name in shared)]
    lines |= {name: parameter.line(name) for name, parameter in shared.items()}
    written = [f"        {lines[name]},\n" for name in order]
    written.insert(1, "        *,\n")
    text = "    def __init__(\n        self,\n" + "".join(written) + "    ):\n"
    text += "".join(f"        self.{name} = {name}\n" for name in order)
    rows = source.splitlines(keepends=True)
    if init is None:
        method = next(part for part in node.body if isinstance(part, ast.FunctionDef))
        start = min([method.lineno, *(decorator.lineno for decorator in method.decorator_list)]) - 1
        return "".join([*rows[:start], text, "\n", *rows[start:]])
    return "".join([*rows[: init.lineno - 1], text, *rows[init.end_lineno :]])


def _own_lines(source, init, shared):
    """Lines of the parameters that are of the class alone."""
    found = {}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.arg not in shared:
            value = "" if default is None else f" = {ast.get_source_segment(source, default)}"
            found[argument.arg] = ast.get_source_segment(source, argument) + value
    return found


def _with_docstring(source, node, family):
    shared, attributes, in_own_words = _shared(node, family), read_attributes(), OWN.get(node.name, set())
    first, *rest = family.parameters
    own = [argument.arg for argument in _init(node).args.kwonlyargs if argument.arg not in shared]
    expression = node.body[0].value
    rows = source.splitlines(keepends=True)
    doc = "".join(rows[expression.lineno - 1 : expression.end_lineno])
    there = _entries(doc, "Parameters")
    entries = [shared[first].entry, *(there[name] for name in own)]
    doc = _with_section(doc, "Parameters", entries + [shared[name].entry for name in rest if name in shared])
    told = {name: _look_up(attributes, name, family) for name in family.attributes if name not in in_own_words}
    entries = [entry for name, entry in _entries(doc, "Attributes").items() if name not in told]
    doc = _with_section(doc, "Attributes", [*entries, *told.values()])
    return "".join([*rows[: expression.lineno - 1], doc, *rows[expression.end_lineno :]])


def _section(doc, title):
    """Find the body of a section of a docstring."""
    begin = rf"(?<=    {title}\n    {'-' * len(title)}\n)"
    return re.search(begin + r'.*?(?=\n    [A-Z][\w ]+\n    -+\n|    """)', doc, re.DOTALL)


def _entries(doc, title):
    """Entries of a section by their names, without indentation."""
    body = textwrap.dedent(_section(doc, title)[0]).strip("\n")
    return {entry.partition(" : ")[0]: entry for entry in re.split(r"\n(?=\S)", body) if entry}


def _with_section(doc, title, entries):
    found = _section(doc, title)
    return doc[: found.start()] + textwrap.indent("\n".join(entries), "    ") + "\n" + doc[found.end() :]


def main() -> int:
    """Write the table into the classes, or with ``--check`` name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with status 1 where a class differs")
    arguments = parser.parse_args()
    differing = []
    for room in ROOMS:
        for path in sorted((PACKAGE / room).glob("*.py")):
            text, changed = rewritten(path.read_text(encoding="utf-8"))
            differing += [f"{room}/{path.name}: {name}" for name in changed]
            if changed and not arguments.check:
                path.write_text(text, encoding="utf-8")
    for line in differing:
        sys.stdout.write(f"{line} {'differs from tools/shared_parameters.py' if arguments.check else 'was written'}\n")
    return int(arguments.check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
