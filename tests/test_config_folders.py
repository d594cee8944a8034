"""Where runs are found: the user's folder first, then the one that comes with warmstore."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from tests.support.shell import PROJECT
from tests.test_overrides import NAMES
from warmstore.configuration import load_config

MINE = """
defaults:
  - data: synthetic
  - stages: default
  - model: own
  - _self_
canvas: 320
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder outside the project, in which commands are typed."""
    monkeypatch.delenv("WARMSTORE_CONFIGS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path) -> None:
    """Write a run of one's own, with a model of one's own."""
    (folder / "model").mkdir(parents=True)
    (folder / "mine.yaml").write_text(MINE)
    (folder / "model/own.yaml").write_text("backbone: tiny\nbatch_size: 3\n")


def test_an_empty_folder_has_the_runs_that_come_with_warmstore(here: Path) -> None:
    _, composed = load_config("tiny")
    assert composed.origin("canvas") == str(PROJECT / "configs/tiny.yaml")
    assert list(here.iterdir()) == []


def test_a_run_of_ones_own_builds_on_them(here: Path) -> None:
    write(here / "configs")
    config, composed = load_config("mine")
    assert (config.canvas, config.model.batch_size) == ((320, 320), 3)
    assert composed.origin("model.batch_size") == str(here / "configs/model/own.yaml")
    assert composed.origin("data.root") == str(PROJECT / "configs/data/synthetic.yaml")
    assert composed.origin("stages.decode.max_pixels") == str(PROJECT / "configs/stages/default.yaml")


def test_ones_own_go_first(here: Path) -> None:
    write(here / "configs")
    (here / "configs/mine.yaml").rename(here / "configs/tiny.yaml")
    (here / "configs/stages").mkdir()
    (here / "configs/stages/default.yaml").write_text("maps: {shrink_ratio: 0.55}")
    config, composed = load_config("tiny")
    assert (config.canvas, config.stages.maps.shrink_ratio) == ((320, 320), 0.55)
    assert composed.origin("stages.maps.shrink_ratio") == str(here / "configs/stages/default.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_comes_with_warmstore_takes_choices_of_ones_own(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(here / name)
    monkeypatch.setenv("WARMSTORE_CONFIGS", name)
    config, composed = load_config("tiny", ["model=own"])
    assert config.model.batch_size == 3
    assert composed.origin("model.batch_size") == str(here / name / "model/own.yaml")


def test_a_run_builds_on_another_and_a_file_says_where_its_keys_go(here: Path) -> None:
    write(here / "configs")
    (here / "configs/model/own.yaml").write_text("# @package _global_\nmodel: {batch_size: 3}\n")
    (here / "configs/mine.yaml").write_text(
        "defaults:\n  - tiny\n  - override model: own\n  - _self_\ncanvas: 320\nseed: 7\n"
    )
    config, composed = load_config("mine", ["++trainer.max_epochs=5", "~seed=7"])
    assert (config.canvas, config.model.batch_size, config.seed) == ((320, 320), 3, 0)
    assert config.trainer.max_epochs == 5
    assert composed.origin("model.batch_size") == str(here / "configs/model/own.yaml")
    assert composed.origin("trainer.log_every_n_steps") == str(PROJECT / "configs/trainer/tiny.yaml")
    assert not [key for key in composed.origins if "defaults" in key]


def test_a_file_that_holds_no_keys_is_named(here: Path) -> None:
    write(here / "configs")
    (here / "configs/model/own.yaml").write_text("- a list\n")
    with pytest.raises(ConfigError, match=r"configs/model/own.yaml holds a list where keys belong"):
        load_config("mine")


@pytest.mark.parametrize("typed", ["+model=own,tiny", "+extra=1,2", "~nothing=1"])
def test_overrides_that_hydra_refuses_are_refused_in_a_sentence(here: Path, typed: str) -> None:
    with pytest.raises(ConfigError, match=r"run tiny in .* cannot be composed: ") as refused:
        load_config("tiny", [typed])
    assert "\n" not in str(refused.value)


def test_what_is_not_there_is_told_with_all_that_is(here: Path) -> None:
    write(here / "configs")
    both = f"{here / 'configs'} or {PROJECT / 'configs'}; there are: mine, receipts, synthetic, tiny"
    with pytest.raises(ConfigError, match=f"there is no run nope in {both}"):
        load_config("nope")
    with pytest.raises(ConfigError, match=r"there is no model named nope; there are: .*, own, small"):
        load_config("mine", ["model=nope"])


def test_a_folder_that_was_named_and_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMSTORE_CONFIGS", "typo")
    with pytest.raises(ConfigError, match="WARMSTORE_CONFIGS=typo is no folder; set it"):
        load_config("tiny")
