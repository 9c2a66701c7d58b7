from __future__ import annotations

from pathlib import Path

import pytest

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.model import Tokenizer


@pytest.fixture
def words() -> Tokenizer:
    return Tokenizer.from_words(["pick", "up", "the", "red", "blue", "cube"])


def test_case_and_punctuation_do_not_matter(words: Tokenizer) -> None:
    assert words.ids("Pick up, the RED cube!") == words.ids("pick up the red cube")
    assert words.ids("pick up the red cube") != words.ids("pick up the blue cube")


def test_unknown_words_are_told(words: Tokenizer) -> None:
    assert words.unknown_words("pick up the Teapot, red cube") == ("Teapot",)
    assert words.unknown_words("pick up the red cube.") == ()
    unknown = words.raw.token_to_id("<unk>")
    assert words.ids("pick the teapot").count(unknown) == 1


def test_batches_are_padded_on_the_left(words: Tokenizer) -> None:
    ids, mask = words.batch(["pick up the red cube", "pick cube"])
    assert ids.shape == mask.shape == (2, 5)
    assert mask[1].tolist() == [0, 0, 0, 1, 1] and ids[1, :3].tolist() == [words.pad_id] * 3
    assert ids[1, 3:].tolist() == words.ids("pick cube")


@pytest.mark.parametrize("instruction", ["", "   \n", "?!"])
def test_empty_instructions_are_refused(words: Tokenizer, instruction: str) -> None:
    with pytest.raises(ObservationError, match="instruction"):
        words.batch([instruction])


def test_no_instruction_is_refused(words: Tokenizer) -> None:
    with pytest.raises(ObservationError):
        words.batch([])


def test_saving_and_reading(words: Tokenizer, tmp_path: Path) -> None:
    words.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path, "plain")
    assert again.vocab_size == words.vocab_size
    assert again.ids("pick up the blue thing") == words.ids("pick up the blue thing")


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        Tokenizer.from_folder(tmp_path, "plain")
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(CheckpointError, match="no tokenizer"):
        Tokenizer.from_folder(tmp_path, "plain")


def test_the_prompt_form_must_fit(words: Tokenizer, tmp_path: Path) -> None:
    words.save(tmp_path)
    with pytest.raises(CheckpointError, match="endoftext"):
        Tokenizer.from_folder(tmp_path, "qwen_chat")
