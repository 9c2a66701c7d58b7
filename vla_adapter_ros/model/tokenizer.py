"""Instructions to token ids: the official Qwen2 tokenizer, or a small word-level one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as RawTokenizer
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.texts import visible
from vla_adapter_ros.untrusted import leaves, pointer_note

CHAT_PROMPT = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nWhat action should the robot take to {instruction}?<|im_end|>\n"
    "<|im_start|>assistant\n"
)
OPENVLA_PROMPT = "In: What action should the robot take to {instruction}?\nOut:"
PAD, UNKNOWN, CHAT_PAD = "<pad>", "<unk>", "<|endoftext|>"
OPENVLA_START, OPENVLA_PAD = "<s>", "<PAD>"

TINY_WORDS = tuple(
    """
    a all and another any arm at away back ball basket behind beside between big black block blue bowl box
    brick bring brown carry close closed corner cube cup cylinder dark down drawer drop far fetch first from
    front get give grab grasp gray green grey grip gripper hand here hold home in inside into it left let
    lift light me middle move near nearest next object of off on one onto open orange other out over pick
    piece pink place plate please pull purple push put raise reach red release right robot second small stack
    stop take that the then there thing third this to top toward towards tray turn two under up upwards
    violet wait white with wooden yellow you
    """.split()
)
"""Words for table-top instructions with colored things; the tiny preset's default vocabulary."""

_SIDE_FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
    "tokenizer_config.json",
)  # fmt: skip


class Tokenizer:
    """A `tokenizers` tokenizer with its prompt form and padding.

    Attributes:
        prompt: `qwen_chat` wraps the lower-cased instruction in the published chat prompt, `openvla`
            in the one of the Llama backbones, behind `<s>`; `plain` takes the instruction as it is.
        pad_id: Id used for padding.
    """

    def __init__(self, raw: RawTokenizer, prompt: str, side_files: dict[str, bytes] | None = None) -> None:
        pad = {"qwen_chat": CHAT_PAD, "openvla": OPENVLA_PAD}.get(prompt, PAD)
        self.raw, self.prompt = raw, prompt
        self.pad_id = self._id_of(pad)
        self._start_ids = [self._id_of(OPENVLA_START)] if prompt == "openvla" else []
        self._side_files = dict(side_files or {})

    @classmethod
    def from_words(cls, words: Iterable[str] = TINY_WORDS) -> Tokenizer:
        """Build a word-level tokenizer: lower case, no punctuation, unknown words become `<unk>`.

        Args:
            words: What it knows, as words or whole sentences.
        """
        plain = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w\s]"), " ")]
        )
        known = {part for word in words for part in plain.normalize_str(word).split()}
        vocabulary = [PAD, UNKNOWN, *sorted(known)]
        raw = RawTokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
        raw.normalizer = plain
        raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(raw, "plain")

    @classmethod
    def from_folder(cls, folder: str | Path, prompt: str) -> Tokenizer:
        """Read `tokenizer.json` (and keep it and the files beside it, to write them back).

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        folder = locate(folder)
        path = folder / "tokenizer.json"
        try:
            raw = RawTokenizer.from_str(path.read_text(encoding="utf-8"))
            raw.no_padding()  # the file may ask for any length
            raw.no_truncation()
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing") from None
        except Exception as error:  # the library raises bare Exception on bad JSON
            raise CheckpointError(pointer_note(path) or f"{path} is no tokenizer: {error}") from error
        side = {name: (folder / name).read_bytes() for name in _SIDE_FILES if (folder / name).is_file()}
        side = {name: data for name, data in side.items() if not leaves(folder / name, folder)}
        return cls(raw, prompt, side)

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and the files that came with it, as they were read."""
        folder = locate(folder)
        for name, data in self._side_files.items():
            (folder / name).write_bytes(data)
        if "tokenizer.json" not in self._side_files:
            (folder / "tokenizer.json").write_text(self.raw.to_str(pretty=True), encoding="utf-8")
        if not self._side_files:
            pad = self.raw.id_to_token(self.pad_id)
            settings = {"pad_token": pad, "unk_token": UNKNOWN, "tokenizer_class": "PreTrainedTokenizerFast"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of token ids, added tokens included."""
        return self.raw.get_vocab_size(with_added_tokens=True)

    def unknown_words(self, instruction: str) -> tuple[str, ...]:
        """Words of the instruction that the vocabulary lacks; always empty for byte-level tokenizers."""
        unknown = self.raw.token_to_id(UNKNOWN)
        if unknown is None:
            return ()
        encoding = self.raw.encode(instruction, add_special_tokens=False)
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        return tuple(instruction[start:end] for i, (start, end) in spans if i == unknown)

    def has_words(self, instruction: str) -> bool:
        """Whether anything of an instruction is left for the model to read, known or not."""
        return bool(visible(instruction)) and bool(self.raw.encode(instruction, add_special_tokens=False).ids)

    def ids(self, instruction: str) -> list[int]:
        """Token ids of the prompt with this instruction.

        Raises:
            ObservationError: the instruction is no text or empty.
        """
        if not isinstance(instruction, str):
            raise ObservationError(f"instruction {instruction!r} is a {type(instruction).__name__}, not text")
        if not visible(instruction):
            raise ObservationError(f"instruction {instruction!r} is empty: at least one word is needed")
        text = instruction.lower()
        if self.prompt == "qwen_chat":
            text = CHAT_PROMPT.format(instruction=text)
        elif self.prompt == "openvla":
            text = OPENVLA_PROMPT.format(instruction=text)
        ids = self.raw.encode(text, add_special_tokens=False).ids
        ids = [*self._start_ids, *ids]
        if not ids:
            raise ObservationError(f"instruction {instruction!r} has no word in it")
        return ids

    def _id_of(self, token: str) -> int:
        found = self.raw.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"tokenizer without the token {token!r}, which prompt {self.prompt!r} needs"
            )
        return int(found)

    def batch(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids padded on the left.

        Returns:
            input_ids int64 (B, P) and attention_mask int64 (B, P), 1 for real tokens.

        Raises:
            ObservationError: no instruction, or an empty one.
        """
        if not instructions:
            raise ObservationError("no instruction given")
        rows = [self.ids(instruction) for instruction in instructions]
        length = max(map(len, rows))
        input_ids = torch.tensor([[self.pad_id] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        return input_ids, mask
