"""Shapes and types in signatures, checked whenever a test calls our code."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as it is for mypy."""
