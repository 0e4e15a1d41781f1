"""Dask collections: graphs of what is to be extracted, partition by partition."""

import copy
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from sktransfer._frozen import cache_folder
from sktransfer.utils._compat import output_container
from sktransfer.utils._optional import import_optional

if TYPE_CHECKING:
    from sktransfer.feature_extraction._extractor import PretrainedFeatureExtractor

__all__ = ["first_rows", "is_lazy", "transform_lazily"]

_FIRST = 64


def is_lazy(X: object) -> bool:
    """Whether X is a collection of dask's, which is imported where such a thing exists."""
    dask = sys.modules.get("dask")
    return dask is not None and dask.is_dask_collection(X)


def first_rows(X: Any) -> Any:
    """Compute the first rows of the first partition that has any: pictures of the kind that `X` holds."""
    kind = _kind(X)
    if kind == "bag":
        return list(X.take(_FIRST, npartitions=1, warn=False)) or list(X.take(1, npartitions=-1, warn=False))
    rows = X.partitions[:1].head(_FIRST)
    return rows if len(rows) else X.head(1, npartitions=-1)


def transform_lazily(extractor: "PretrainedFeatureExtractor", X: Any) -> Any:
    """Give the collection of the features of `X`, of which nothing is computed yet.

    Parameters
    ----------
    extractor : PretrainedFeatureExtractor
        Fitted.
    X : dask.bag.Bag, dask.dataframe.Series or dask.dataframe.DataFrame
        Pictures; a frame has one column, or those of :meth:`fit`.

    Returns
    -------
    dask.bag.Bag or dask.dataframe.DataFrame
        A bag of one array a picture, or a frame with the index and the divisions of `X`.
    """
    kind = _kind(X)
    container = output_container(extractor)
    if container != "default":
        raise ValueError(
            f"set_output asks for {container} output, which would compute X, a dask {kind}. Partitions of a dask data "
            "frame are pandas frames already: call set_output(transform='default')."
        )
    parcel = sys.modules["dask"].delayed(_pack(extractor))  # once in the graph
    if kind == "bag":
        return X.map_partitions(_rows, parcel)
    if extractor.pooling is None:
        raise ValueError(
            "pooling=None gives maps, which are no columns of a data frame: pass a dask bag of the pictures "
            "(X.to_bag()) or another pooling."
        )
    columns = getattr(X, "columns", (None,))
    if len(columns) not in (1, getattr(extractor, "n_features_in_", 1)):
        raise ValueError(
            f"X has {len(columns)} columns ({', '.join(map(str, columns[:3]))}, ...): expected the one column of the "
            "pictures, such as X['path']."
        )
    return X.map_partitions(
        _frame, parcel, meta=_as_frame(extractor, np.empty((0, extractor.n_features_out_)), X._meta)
    )


def _kind(X):
    if isinstance(X, getattr(sys.modules.get("dask.bag"), "Bag", ())):
        return "bag"
    frames = sys.modules.get("dask.dataframe")
    if frames is not None and isinstance(X, (frames.DataFrame, frames.Series)):
        return "data frame"
    raise TypeError(
        f"X is a dask {type(X).__name__}: expected a dask bag of pictures or a column of a dask data frame with their "
        "paths, which stay lazy. Pass X.compute() to read it here."
    )


def _pack(extractor):
    from sktransfer._frozen import pack

    local = copy.copy(extractor)
    # Dask's workers are as many as there are cores, and keep results themselves where they are asked to.
    cache = None if cache_folder(extractor.cache) is None else extractor.cache
    return pack((local.set_params(cache=cache, n_jobs=extractor.n_jobs or 1, verbose=0),))


def _rows(partition, parcel):
    rows = list(partition)
    return list(_features(_unpack(parcel), rows)) if rows else []


def _frame(partition, parcel):
    extractor = _unpack(parcel)
    features = _features(extractor, partition) if len(partition) else np.empty((0, extractor.n_features_out_))
    return _as_frame(extractor, features, partition)


def _unpack(parcel):
    from sktransfer._frozen import unpack

    return unpack(parcel)[0]


def _features(extractor, rows):
    from sktransfer._frozen import freed_memory_kept

    with freed_memory_kept():
        return extractor._features(extractor._samples(rows))


def _as_frame(extractor, features, like):
    pandas = import_optional("pandas", extra="dask", caller="transform of a dask data frame")
    names = extractor.get_feature_names_out()
    return pandas.DataFrame(features.astype(np.float32, copy=False), index=like.index[: len(features)], columns=names)
