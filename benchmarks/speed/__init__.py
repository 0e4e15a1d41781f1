"""The jobs of ``bench.py``, one file a subject; each has a dict ``JOBS`` of name to Job."""
