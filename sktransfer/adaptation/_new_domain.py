"""Meta-estimators for a domain that came after the fit."""

from copy import copy
from typing import Any

from sklearn.utils.validation import check_is_fitted

__all__ = ["NewDomainMixin"]


class NewDomainMixin:
    """What holds an ``adapter_``, and hands a new domain to it."""

    adapter_: Any

    def adapt(self, X: Any) -> "NewDomainMixin":
        """Adapt to a domain that :meth:`fit` has not seen, without source rows.

        The estimator inside stays as it is, and the adapter learns to bring rows of the new domain to where it works.
        An adapter that treats the domains together needs the source rows anew, and so a new :meth:`fit`; the one that
        does not is :class:`DomainStandardizer`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the new domain; they need no labels.

        Returns
        -------
        adapted : object
            A fitted copy.

        Raises
        ------
        ValueError
            If the adapter cannot do without source rows.
        """
        check_is_fitted(self)
        learn = getattr(self.adapter_, "adapt", None)
        if learn is None:
            raise ValueError(
                f"adapter={self.adapter_!r} learns from rows of both domains together, so that `adapt`, which has none "
                "of the source, cannot change it. Call fit with the source rows and those of the new domain, or take "
                "DomainStandardizer() as adapter."
            )
        adapted = copy(self)
        adapted.adapter_ = learn(X)
        return adapted
