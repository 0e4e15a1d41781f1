"""To be written."""

JOBS = {}
