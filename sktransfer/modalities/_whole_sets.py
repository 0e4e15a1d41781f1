"""Whole data sets given as X, of which X is a part: refused with the line to write."""

import sys
from collections.abc import Mapping
from typing import Any

from sktransfer.utils._messages import shorten

__all__ = ["refuse_whole_set"]

# How the package datasets calls the kinds of its columns.
_KIND_OF = {"picture": "Image", "recording": "Audio", "text": "Value"}


def refuse_whole_set(X: Any, noun: str) -> None:
    """Refuse what holds X and y together, or makes batches.

    Parameters
    ----------
    X : object
    noun : {"picture", "recording", "text"}
        What one sample is.

    Raises
    ------
    TypeError
        X is a ``DataLoader`` of torch, or a data set of the package datasets, and not a column of one.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(X, torch.utils.data.DataLoader):
        raise TypeError(
            "X is a DataLoader, which gives batches: pass what it reads from, X.dataset, and as y the labels, such as "
            "[label for _, label in X.dataset]. Estimators make batches themselves (batch_size=)."
        )
    names = getattr(X, "column_names", None)
    if not hasattr(X, "features") and not (isinstance(X, Mapping) and isinstance(names, Mapping)):
        return
    if isinstance(names, Mapping) and names:  # splits, and the columns of each
        split = "train" if "train" in names else next(iter(names))
        place, one = f"X[{split!r}]", X[split]
        what = f"holds the splits {shorten(list(names))}"
    elif isinstance(names, list) and names:
        place, one, what = "X", X, "is whole"
    else:
        return
    column, label = _likely(one, noun)
    is_streamed = not hasattr(one, "__len__")
    lines = [f"[row[{name!r}] for row in {place}]" if is_streamed else f"{place}[{name!r}]" for name in (column, label)]
    labels = f" as X and {lines[1]} as y" if label else ""
    raise TypeError(
        f"X is a {type(X).__name__} of Hugging Face that {what}, with the columns {shorten(list(one.column_names))}: "
        f"pass the one of the {noun}s, {lines[0]}{labels}."
    )


def _likely(dataset, noun):
    """Give the column that holds samples, and that of the labels if there is one."""
    kinds = {name: type(kind).__name__ for name, kind in dict(dataset.features or {}).items()}
    names = list(dataset.column_names)
    labels = [name for name in names if kinds.get(name) == "ClassLabel" or name in ("label", "labels")]
    others = [name for name in names if name not in labels] or names
    fitting = [name for name in others if kinds.get(name) == _KIND_OF[noun]]
    return (fitting or others)[0], labels[0] if labels else None
