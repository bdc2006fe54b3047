"""A script of analyses/ as a module, by its file name."""

import importlib.util
from types import ModuleType

from interfere.report.figures import scripts


def script(name: str) -> ModuleType:
    path = next(path for path in scripts() if path.stem == name)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
