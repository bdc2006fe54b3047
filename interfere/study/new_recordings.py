"""The kinds of new facts that a study teaches, and their recordings."""

from interfere.activations.recording import Recording
from interfere.study.preparation import Prepared


def new_keys(prepared: Prepared) -> list[str]:
    """The kinds of subjects that the study's arms learn, each once."""
    arms = [arm for arm in prepared.study.arms if arm.trains_new]
    return list(dict.fromkeys(arm.keys for arm in arms))


def new_recording(prepared: Prepared, keys: str, seed: int) -> Recording:
    """The new facts as the format checkpoint sees them, before they are learnt."""
    name = "unknown" if keys == "natural" else f"{keys}-{seed}"
    return prepared.recording(name, prepared.new_facts(keys, seed))
