"""The preparation of pictures as an ONNX graph: resampled, cropped and normalised where it runs."""

from typing import Any

import numpy as np

from sktransfer.modalities._preprocess import ImagePreprocessor
from sktransfer.modalities._spec import InputSpec
from sktransfer.utils._optional import import_optional

__all__ = ["preparation_graph"]

_MODES = {
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},  # Pillow's
}
_GREY_LEVELS = 255.0


def preparation_graph(preprocess: ImagePreprocessor, spec: InputSpec, opset: int, caller: str) -> Any:
    """Write the preparation of pictures as a model.

    Its input ``pictures`` is ``(batch, height, width, channels)``, of any height and width; uint8, or float32 on the
    user's scale where one was learned or stated. Its output is ``prepared``.

    Parameters
    ----------
    preprocess : ImagePreprocessor
    spec : InputSpec
        What ``fit`` learned.
    opset : int
        Version of the operators, at least 18.
    caller : str
        Who asks, for the message where a package is missing.

    Returns
    -------
    onnx.ModelProto or None
        None where the operators cannot say it: other filters than bilinear and bicubic, borders, luminance of colours.
    """
    n_given = _n_channels(spec)
    n_taken = _n_taken(n_given, spec)
    grey_to_three = n_taken == 1 and preprocess.in_chans == 3
    says_size = preprocess.crop_mode in ("center", "squash") and preprocess.crop_pct <= 1
    if preprocess.interpolation not in _MODES or not says_size:
        return None
    if n_taken != preprocess.in_chans and not grey_to_three:
        return None
    graph = _Graph(import_optional("onnx", extra="onnx", caller=caller))
    limits = spec.stated_range or spec.value_range
    levels = _levels(graph, spec, n_given, n_taken, limits)
    planes = graph.add("Transpose", levels, perm=[0, 3, 1, 2])
    if grey_to_three:
        planes = graph.add("Concat", planes, planes, planes, axis=1)
    size = _size(graph, planes, preprocess)
    resized = _resize(graph, planes, size, _MODES[preprocess.interpolation], whole_levels=limits is None)
    cropped = _crop(graph, resized, size, preprocess.input_size)
    mean, std = (_GREY_LEVELS * np.reshape(values, (-1, 1, 1)) for values in (preprocess.mean, preprocess.std))
    graph.add("Div", graph.add("Sub", cropped, graph.floats(mean)), graph.floats(std), name="prepared")
    return graph.model(
        np.uint8 if limits is None else np.float32, n_given, (preprocess.in_chans, *preprocess.input_size), opset
    )


def _n_channels(spec):
    return 3 if spec.image_shape is None and spec.channels is None else spec.channels or spec.image_shape[2]


def _n_taken(n_given, spec):
    if spec.select is None:  # colours, or grey; a channel behind them is left out
        return 3 if n_given > 2 else 1
    return n_given if spec.select == "all" else len(spec.select)


def _levels(graph, spec, n_given, n_taken, limits):
    """Take channels, and bring them to the scale 0 to 255."""
    levels = graph.add("Cast", "pictures", to=1)  # to float32
    chosen = spec.select if isinstance(spec.select, tuple) else tuple(range(n_taken))
    if chosen != tuple(range(n_given)):
        levels = graph.add("Gather", levels, graph.integers(chosen), axis=3)
    if limits is None:
        return levels
    black, white = limits
    levels = graph.add("Sub", levels, graph.floats(black))
    levels = graph.add("Mul", levels, graph.floats(_GREY_LEVELS / (white - black)))
    if spec.stated_range is not None:
        levels = graph.add("Clip", levels, graph.floats(0.0), graph.floats(_GREY_LEVELS))
    return levels


def _size(graph, planes, preprocess):
    """Give the size before the crop; see ``ImagePreprocessor._resized_size``."""
    target = preprocess.target_size
    wanted = graph.integers(target)
    if preprocess.crop_mode == "squash":
        return wanted
    size = graph.add("Shape", planes, start=2)
    if target[0] == target[1]:
        shorter = graph.add("ReduceMin", size, keepdims=1)
        return graph.add("Div", graph.add("Mul", size, wanted), shorter)
    exact = graph.add("Cast", size, to=11)  # to float64
    ratio = graph.add("ReduceMin", graph.add("Div", exact, graph.add("Cast", wanted, to=11)), keepdims=1)
    rounded = graph.add("Cast", graph.add("Round", graph.add("Div", exact, ratio)), to=7)  # to int64
    return graph.add("Max", rounded, graph.integers((1,)))


def _resize(graph, planes, size, how, *, whole_levels):
    how = {**how, "antialias": 1, "exclude_outside": 1}
    whole = graph.add("Concat", graph.add("Shape", planes, end=2), size, axis=0)
    if not whole_levels:
        return graph.add("Resize", planes, "", "", whole, **how)
    # Of 8 bits Pillow makes 8 bits twice: along the rows, then along the columns.
    width = graph.add("Slice", size, graph.integers((1,)), graph.integers((2,)))
    wide = graph.add("Concat", graph.add("Shape", planes, end=3), width, axis=0)
    rows = _rounded(graph, graph.add("Resize", planes, "", "", wide, **how))
    return _rounded(graph, graph.add("Resize", rows, "", "", whole, **how))


def _rounded(graph, levels):
    whole = graph.add("Floor", graph.add("Add", levels, graph.floats(0.5)))
    return graph.add("Clip", whole, graph.floats(0.0), graph.floats(_GREY_LEVELS))


def _crop(graph, planes, size, wanted):
    room = graph.add("Cast", graph.add("Sub", size, graph.integers(wanted)), to=1)
    start = graph.add("Cast", graph.add("Round", graph.add("Mul", room, graph.floats(0.5))), to=7)
    end = graph.add("Add", start, graph.integers(wanted))
    return graph.add("Slice", planes, start, end, graph.integers((2, 3)))


class _Graph:
    """Nodes, one after another.

    Parameters
    ----------
    onnx : module
    """

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Put a node behind the others; gives the name of its output."""
        name = name or f"prepare_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def floats(self, values: Any) -> str:
        """Give the name of constant numbers."""
        return self._constant(np.asarray(values, dtype=np.float32))

    def integers(self, values: Any) -> str:
        """Give the name of constant whole numbers."""
        return self._constant(np.asarray(values, dtype=np.int64))

    def _constant(self, values):
        name = f"prepare_constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def model(self, dtype: Any, n_channels: int, shape: tuple[int, ...], opset: int) -> Any:
        """Give the model."""
        helper = self.onnx.helper
        number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        given = helper.make_tensor_value_info("pictures", number, ["batch", "height", "width", n_channels])
        made = helper.make_tensor_value_info("prepared", self.onnx.TensorProto.FLOAT, ["batch", *shape])
        graph = helper.make_graph(self.nodes, "prepare", [given], [made], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
