"""Tiny, seeded, offline data with known shifts between domains."""

from sktransfer.datasets._images import make_image_domains
from sktransfer.datasets._shift import make_domain_shift

__all__ = ["make_domain_shift", "make_image_domains"]
