"""What every room may use: no sktransfer import here but of this room and of :mod:`sktransfer.exceptions`."""
