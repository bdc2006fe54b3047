"""Is a recording whole? Every checksum, in a process of its own.

Damaged bytes can crash the HDF5 library itself; then the child ends, not its caller.
"""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from interfere.activations.layout import checksum
from interfere.activations.plan import chunk_facts
from interfere.activations.recording import header, reading
from interfere.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a recording, if anything."""

    chunks: int
    unfinished: list[int]
    """Chunks that were never written to the end: a recording interrupted."""
    damaged: list[int]
    """Chunks whose bytes are not those that were written."""
    problem: str = ""
    """Why the file can't be read at all."""

    @property
    def whole(self) -> bool:
        """Nothing damaged; a recording interrupted may be whole as far as it goes."""
        return not (self.damaged or self.problem)


def verify(path: str | Path) -> Verdict:
    """Check facts, tokens and layout, and every finished chunk, against their checksums.

    Raises:
        InputError: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    command = [sys.executable, "-m", "interfere.activations.verifying", str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return Verdict(0, [], [], f"{path} crashes the HDF5 library ({name})")
    try:
        return Verdict(**json.loads(child.stdout))
    except (ValueError, TypeError):
        last = child.stderr.strip().rsplit("\n", 1)[-1]
        return Verdict(0, [], [], f"{path} can't be read: {last}")


def inspect_chunks(path: Path) -> Verdict:
    """`verify` in this process."""
    try:
        attributes, finished, _ = header(path)
        names = [
            f"{hook}/{position}"
            for hook in json.loads(attributes["hooks"])
            for position in json.loads(attributes["positions"])
        ]
        with reading(path) as file:
            names += [name for name in SCORES if name in file]
            done, sums = file["chunks/done"][...], file["chunks/checksum"][...]
            facts, size = len(file["prompts"]), chunk_facts(attributes["batch_plan"])
            unfinished: list[int] = []
            damaged: list[int] = []
            for chunk, begin in enumerate(range(0, facts, size)):
                if done[chunk] == 0:
                    (damaged if finished else unfinished).append(chunk)
                elif done[chunk] != 1 or not _same(
                    file, names, begin, size, int(sums[chunk])
                ):
                    damaged.append(chunk)
        return Verdict(len(done), unfinished, damaged)
    except InputError as error:
        return Verdict(0, [], [], str(error))


SCORES = ("score/logprob", "score/right")


def _same(file: object, names: list[str], begin: int, size: int, expected: int) -> bool:
    try:
        parts = (file[name][begin : begin + size] for name in names)  # type: ignore[index]
        return checksum(parts) == expected
    except OSError:  # a packed chunk that does not unpack
        return False


if __name__ == "__main__":
    print(json.dumps(asdict(inspect_chunks(Path(sys.argv[1])))))
