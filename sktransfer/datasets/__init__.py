"""Folders of files as X and y; tiny, seeded, offline data with known shifts between domains."""

from sktransfer.datasets._folder import load_folder
from sktransfer.datasets._images import make_image_domains
from sktransfer.datasets._shift import make_domain_shift

__all__ = ["load_folder", "make_domain_shift", "make_image_domains"]
