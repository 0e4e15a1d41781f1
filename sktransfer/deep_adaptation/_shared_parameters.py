"""Parameters that all methods of deep adaptation share: written once, in every signature and docstring."""

import inspect
import re
import textwrap

__all__ = ["share_parameters"]

_BACKBONE = """\
backbone : str, ImageBackbone, torch.nn.Module, fitted estimator or None, default="resnet18"
    A timm name, ``"hf-hub:org/name"``, ``"local-dir:folder"``, the bundled ``"sktransfer_mini"``, a network of your
    own (copied, never changed), a fitted sktransfer estimator, or the path of a file that :meth:`save` wrote; or an
    :class:`~sktransfer.ImageBackbone`, which says of these what their channels and values mean, too. None for tables:
    X is then a numeric array of shape (n_samples, n_features), whose rows enter at `bottleneck`.
"""

_CLASSES = """\
class_weight : dict, "balanced" or None, default=None
    Weights of the classes in the loss of the labels; ``"balanced"`` is inversely proportional to their frequencies.
"""

_TRAINING = """\
trade_off : float, default=1.0
    Weight of the adaptation against the loss of the labels; 0 is training on the source alone.
trade_off_schedule : {"ramp", "constant"}, default="ramp"
    Whether that weight grows with the share p of the training that is over, times 2 / (1 + exp(-10 p)) - 1, or is the
    same from the first step.
bottleneck : int, sequence of int or None, default=256
    Widths of new layers (linear, BatchNorm, ReLU) between the pooled features and the head, whose output is what is
    adapted; None adapts the pooled features.
sources : {"pooled", "separate"}, default="pooled"
    Whether several source domains are adapted to the target as one, or each by itself with equal weight.
use_target_labels : bool, default=False
    Whether target rows that have a label are learned from beside the source rows. If not, no label of a target row is
    read.
target_domain : label or list of labels, default="target"
    Domains that are the target.
weights : str, path-like or None, default="pretrained"
    ``"pretrained"``, the path of a ``.safetensors`` or ``.pth`` file, or None for random weights.
recipe : {"auto", "head", "full", "lp-ft", "gradual", "lora"} or Recipe, default="auto"
    How the network is trained, by name or in every particular; see :class:`Recipe`. What was taken is in ``recipe_``.
trainable : {"head", "all", "norm", "bias", "lora"}, int, list of str or None, default=None
    What learns beside the new layers, as in :class:`Recipe`. With ``"head"`` and with the last k stages everything
    before runs once per picture. None here and below: as the recipe says.
max_epochs : int or None, default=None
    Passes over the larger of source and target.
batch_size : int or None, default=None
    Source rows a step, and as many target rows; at least 2.
lr : float, "auto" or None, default=None
    Learning rate; ``"auto"`` finds it by a range test, whose curve is kept in ``lr_range_``.
augment : {"light", "default", "trivial", "randaug", "none"}, callable or None, default=None
    Random changes of the training pictures of both domains, as in :class:`Recipe`; ``"none"`` for none where the
    recipe has some.
checkpoint_dir : path-like or None, default=None
    Folder from which a fit that was killed goes on when it is called again.
image_size : int, tuple of int or None, default=None
    Height and width in pixels at which the network sees the pictures; None takes its own.
image_shape : tuple of int or None, default=None
    Shape of flattened pictures, or of arrays whose channel axis cannot be told.
device : str or torch.device, default="auto"
    ``"auto"`` takes cuda, mps or cpu, whichever there is.
precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
    Number format of the network; ``"auto"`` takes bfloat16 on CUDA cards that have it and float32 elsewhere.
cache : {"memory"}, path-like, FeatureCache or None, default="memory"
    Where the output of the frozen part is kept; see :class:`FeatureCache`. Where the whole network learns and
    nothing is augmented, up to 512 MiB of prepared pictures are kept in memory during :meth:`fit`; None keeps nothing.
n_jobs : int or None, default=None
    Threads that decode pictures ahead of the network.
on_error : {"raise", "drop"}, default="raise"
    What is done about pictures that cannot be read: an error that names the row, or, with ``"drop"``, :meth:`fit`
    leaves them out with a warning (every picture is read once more for that), probabilities, numbers and features are
    NaN for them, and where a class has to be predicted the first is named.
random_state : int, RandomState instance or None, default=None
    Draws the new layers, the order of the rows and the augmentation. The same seed gives the same model on a CPU.
verbose : int, default=0
    Show progress bars if not 0.
callbacks : list of skorch callbacks or None, default=None
    Called during training as skorch calls them, alone or in pairs of a name and a callback; copies are used. One
    that could not do here what it is for is refused by name.
"""

_CLASSES_LEARNED = """\
classes_ : ndarray of shape (n_classes,)
    The labels.
"""

_SCALE_LEARNED = """\
target_mean_, target_scale_ : ndarray of shape (1,)
    Mean and standard deviation of the targets that were learned from.
"""

_ATTRIBUTES = """\
source_domains_ : list
    Names of the source domains.
backbone_ : Backbone or None
    The network as it was before training.
net_ : skorch.NeuralNet
    Holds the trained part.
plan_ : TrainingPlan
    Where training begins, and the names of the backbone's parameters that learned.
history_ : list of dict
    One entry an epoch; ``penalty`` is the adaptation's part of ``train_loss``.
n_iter_ : int
    Epochs run.
lr_ : float
    Learning rate.
lr_range_ : dict of ndarray
    ``"lr"`` and ``"loss"`` of the range test, where ``lr="auto"``.
recipe_ : Recipe
    How the network was trained, in every particular.
input_spec_ : InputSpec
    What was learned about the pictures.
n_features_in_ : int
    Number of columns, where X was a table.
feature_names_in_ : ndarray of str
    Names of the columns, where X was a data frame with string names.
"""


def share_parameters(cls: type) -> None:
    """Complete the signature of ``cls.__init__(..., **training)`` by the parameters of its base, and its docstring.

    scikit-learn reads the names of parameters off the signature.
    """
    own = vars(cls).get("__init__")
    if own is not None:
        parameters = list(inspect.signature(own).parameters.values())
        if parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
            known = {parameter.name for parameter in parameters}
            inherited = super(cls, cls).__init__  # type: ignore[arg-type]  # a class, whatever its metaclass
            base = inspect.signature(inherited).parameters.values()
            own.__signature__ = inspect.Signature([*parameters[:-1], *(p for p in base if p.name not in known)])
    is_classifier = "class_weight" in inspect.signature(cls).parameters
    blocks = {
        "backbone": _BACKBONE,
        "training": (_CLASSES if is_classifier else "") + _TRAINING,
        "attributes": (_CLASSES_LEARNED if is_classifier else _SCALE_LEARNED) + _ATTRIBUTES,
    }
    for name, block in blocks.items():
        cls.__doc__ = (cls.__doc__ or "").replace(f"    [[{name}]]", _without_own(block, cls.__doc__ or ""))


def _without_own(block, doc):
    """Indent the entries of a block, but for those that the class documents itself, for another default."""
    entries = re.split(r"\n(?=\S)", block.rstrip())
    kept = [entry for entry in entries if f"\n    {entry.split(' : ')[0]} : " not in doc]
    return textwrap.indent("\n".join(kept), "    ")
