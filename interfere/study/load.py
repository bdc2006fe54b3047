"""Studies read from YAML: the presets that the package ships, and files."""

import contextlib
import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from interfere.errors import InputError
from interfere.study.study import SECTIONS, Study


def presets() -> list[str]:
    """Names of the studies that the package ships."""
    folder = resources.files("interfere.study").joinpath("presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


def load_study(name: str, changes: list[str] | None = None) -> Study:
    """Read a preset or a YAML file, with `a.b=value` changes on top.

    Raises:
        InputError: no such study, a key it doesn't know (the nearest is named), a value out
            of range, or more seeds asked of leave_out than there are.
    """
    content = _read(name)
    for change in changes or []:
        _apply(content, change)
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise InputError(f"study {name}: {_explain(error)}") from None
    asked, seeds = study.leave_out, len(study.seeds)
    # Here and not in Study: a study that was written out names its defaults, too.
    if "seeds" in asked.model_fields_set and asked.seeds > seeds:
        raise InputError(
            f"study {name}: leave_out.seeds is {asked.seeds}, but the study has {seeds} "
            f"{'seed' if seeds == 1 else 'seeds'}, of which the first are taken"
        )
    return study


def _read(name: str) -> dict[str, Any]:
    if name in presets():
        preset = resources.files("interfere.study").joinpath(f"presets/{name}.yaml")
        text = preset.read_text("utf-8")
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        try:
            text = Path(name).read_text("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"study {name}: not a text file in UTF-8") from None
    else:
        near = difflib.get_close_matches(name, presets(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"no study {name!r}; {hint}there are {', '.join(presets())}, or give a .yaml file"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise InputError(f"study {name}{line}: not valid YAML") from None
    if not isinstance(content, dict):
        raise InputError(
            f"study {name}: expected keys and values, got {type(content).__name__}"
        )
    content.setdefault("name", Path(name).stem)
    return content


def _apply(content: dict[str, Any], change: str) -> None:
    path, separator, value = change.partition("=")
    if not separator or not path:
        raise InputError(
            f"--set {change!r}: write it as key=value, such as train.epochs=12"
        )
    *parents, last = path.split(".")
    place: Any = content
    for key in parents:
        step = _key(place, key, change)
        place = place[step] if isinstance(step, int) else place.setdefault(key, {})
        if not isinstance(place, dict | list):
            raise InputError(f"--set {change!r}: {key} holds a value, not keys")
    try:
        parsed = read_value(value)
    except yaml.YAMLError:
        raise InputError(f"--set {change!r}: {value!r} is not valid YAML") from None
    place[_key(place, last, change)] = parsed


def read_value(text: str) -> Any:
    """A value as the command line's `--set` takes it: YAML, and 1e-4 is a number.

    Raises:
        YAMLError: text that is no YAML.
    """
    parsed = yaml.safe_load(text)
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-4 as a word
        with contextlib.suppress(ValueError):
            return float(parsed)
    return parsed


def _key(place: Any, key: str, change: str) -> int | str:
    if not isinstance(place, list):
        return key
    if not key.isdigit() or int(key) >= len(place):
        raise InputError(
            f"--set {change!r}: {key} is not a place in a list of {len(place)}"
        )
    return int(key)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":  # ours, and a sentence by itself
        return f"{place}: {first['ctx']['error']}" if place else str(first["ctx"]["error"])
    if first["type"] != "extra_forbidden":
        return (
            f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
        )
    known = _fields(first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, 1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key {place!r}; {hint}there are {', '.join(known)}"


def _fields(path: tuple[int | str, ...]) -> list[str]:
    section: Any = Study
    for part in path:
        if isinstance(part, str):
            section = SECTIONS.get(part, section)
    return list(section.model_fields)
