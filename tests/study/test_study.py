import pytest

from interfere.errors import InputError
from interfere.study.estimate import estimate
from interfere.study.headline import main_pairs
from interfere.study.load import load_study, presets


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid_and_named_after_their_file(name):
    study = load_study(name)
    assert study.name == name
    assert any(arm.rows == "known" for arm in study.arms), "no Known-only control"


def test_unknown_study_names_the_nearest():
    with pytest.raises(InputError, match=r"no study 'nanoo'; did you mean nano\?"):
        load_study("nanoo")


def test_unknown_key_names_the_nearest():
    with pytest.raises(
        InputError, match=r"unknown key 'train.epoch'; did you mean 'epochs'"
    ):
        load_study("nano", ["train.epoch=3"])


def test_unknown_key_of_an_arm_is_found_too():
    with pytest.raises(InputError, match=r"'arms.0.kyes'; did you mean 'keys'"):
        load_study("nano", ["arms.0.kyes=hex"])


def test_values_out_of_range_say_what_they_are():
    with pytest.raises(InputError, match=r"train.learning_rate: .*greater than 0, got -1"):
        load_study("nano", ["train.learning_rate=-1"])


@pytest.mark.parametrize("text", ["1e-4", "0.0001", "1.0e-4"])
def test_changes_read_numbers_however_written(text):
    assert load_study("nano", [f"train.learning_rate={text}"]).train.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epochs", "write it as key=value"),
        ("arms.99.name=x", "not a place in a list"),
        ("name.of=x", "holds a value, not keys"),
        ("seeds=[0", "is not valid YAML"),
    ],
)
def test_changes_that_make_no_sense(change, message):
    with pytest.raises(InputError, match=message):
        load_study("nano", [change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("arms=[{name: a}, {name: a, keys: hex}]", "arms: two arms are named 'a'"),
        ("arms=[]", "arms: .*at least 1"),
        ("arms=[{name: a, against: [a]}]", "the arm 'a' is set against 'a': both must"),
        ("arms=[{name: a, against: [b]}, {name: b, rows: known}]", "set against 'b': both"),
        ("seeds=[0, 0]", "seeds: the seed 0 is there twice"),
        ("seeds=[-1]", "seeds.0: .*greater than or equal to 0"),
        ("name=../up", "name: string should match"),
        ("interference.position=prompt", "'prompt' is not among record.positions"),
        ("leave_out.seeds=9", "leave_out.seeds is 9, but the study has 3 seeds"),
    ],
)
def test_studies_that_could_not_be_told_apart_or_measured(change, message):
    with pytest.raises(InputError, match=message):
        load_study("nano", [change])


def test_arms_are_compared_with_plain_sft_and_with_what_they_are_against():
    arms = (
        "[{name: SFT}, {name: spent, mitigation: replay, against: [drawn, SFT]}, "
        "{name: drawn, mitigation: replay, settings: {ratio: 0.1}}]"
    )
    pairs = main_pairs(load_study("nano", [f"arms={arms}"]))
    assert pairs == [("SFT", "spent"), ("SFT", "drawn"), ("drawn", "spent")]


def test_a_file_with_broken_yaml_names_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: nano\narms: [{name: a\n")
    with pytest.raises(InputError, match=r"mine.yaml, line \d+: not valid YAML"):
        load_study(str(path))


def test_a_file_is_named_after_itself(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("arms: [{name: SFT}]\n")
    assert load_study(str(path)).name == "mine"


def test_estimate_of_the_paper_grows_with_its_facts():
    small = estimate(load_study("paper", ["split.unknown=1000"]))
    large = estimate(load_study("paper"))
    assert small.runs == large.runs == 7
    assert large.steps == 20 * 500
    assert large.flops["train"] > small.flops["train"]
    assert 20e9 < large.memory < 60e9


def test_a_dry_run_needs_sizes():
    with pytest.raises(InputError, match="needs the section architecture"):
        estimate(load_study("nano", ["architecture=null"]))
