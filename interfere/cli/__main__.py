"""`python -m interfere.cli`: the command, where torchrun or a test starts a module."""

from interfere.cli import run

run()
