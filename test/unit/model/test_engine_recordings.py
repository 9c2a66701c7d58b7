"""Recorded stages give what the plain forward pass gives, whatever prompts come; few are needed and kept."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from vla_adapter_ros.model.engine import engine as engine_module
from vla_adapter_ros.model.engine.language_stage import EXPECTED_TOKENS, LONG_ROWS, ROWS

from .fx_recorder import recording_engine
from .small import LLAMA, QWEN2, small_config
from .test_engine import VARIANTS, build, observation, plain

LONG = ("dit", "dit_query")  # they are denoised in many steps


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in VARIANTS]
)
def test_every_variant_with_prompts_in_turn(name: str) -> None:
    network = build(VARIANTS[name])
    engine, recorder = recording_engine(network)
    longest = min(50, network.config.max_prompt_tokens)
    for prompt in (5, longest, 6, 5):
        inputs = observation(network.config, prompt)
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=2e-5)
    lengths = {engine._lay_out(prompt).padded for prompt in (5, 6, longest)}
    assert len(recorder.names) == 2 + len(lengths)


@pytest.mark.parametrize("name", ["llama", "official"])
def test_many_prompts_need_few_recordings(name: str) -> None:
    """More prompts than are kept, so that places in memory are used again by others."""
    network = build(VARIANTS[name])
    engine, recorder = recording_engine(network)
    rng = np.random.default_rng(7)
    for number in range(160):
        images, _, proprio = observation(network.config)
        ids = torch.from_numpy(rng.integers(3, 24, 1 + number * 7 % 50))
        expected = plain(network, images, ids, proprio)
        torch.testing.assert_close(engine.predict(images, ids, proprio), expected, rtol=0, atol=2e-5)
        if number % 20 == 0:
            gc.collect()
    assert len(recorder.names) <= 2 + 2  # two padded lengths


def test_the_number_of_kept_recordings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "KEPT_LENGTHS", 2)
    network = build(small_config(QWEN2.__class__(**{**vars(QWEN2), "max_positions": 512})))
    engine, recorder = recording_engine(network)
    for prompt in (5, 40, 80, 5):
        inputs = observation(network.config, prompt)
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=2e-5)
        assert len(engine._of_lengths) <= 2
    assert len(recorder.names) == 2 + 4  # the first length was recorded again


@pytest.mark.parametrize("llm", [QWEN2, LLAMA], ids=["causal", "bidirectional"])
def test_long_prompts_share_lengths_and_are_prepared_for(llm: object) -> None:
    network = build(small_config(llm.__class__(**{**vars(llm), "max_positions": 1024})))
    engine, recorder = recording_engine(network)
    engine.warm_up([*range(1, EXPECTED_TOKENS, 8), EXPECTED_TOKENS])
    warm = len(recorder.names)
    assert all(engine.is_ready(count) for count in range(1, EXPECTED_TOKENS + 1))
    lengths = {engine._lay_out(count).padded for count in range(EXPECTED_TOKENS + 1, 900)}
    assert all(length % LONG_ROWS == 0 for length in lengths) and len(lengths) <= 900 / LONG_ROWS + 1
    for count in (150, 151, 200, 700):
        if not engine.is_ready(count):
            engine.warm_up([count])
        recorded = len(recorder.names)
        inputs = observation(network.config, count)
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=5e-5)
        assert len(recorder.names) == recorded
    assert len(recorder.names) - warm == len({engine._lay_out(c).padded for c in (150, 200, 700)})


def test_nothing_is_padded_further_than_needed_where_nothing_is_recorded() -> None:
    network = build(small_config(QWEN2.__class__(**{**vars(QWEN2), "max_positions": 1024})))
    engine = engine_module.InferenceEngine(network)
    for count in (1, 20, 97, 130, 400):
        places = engine._lay_out(count)
        assert 0 <= places.padded - places.length < ROWS and engine.is_ready(count)


def test_more_than_eight_lengths_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond eight shapes torch.compile goes on without compiling, unless it is told otherwise."""
    compiled: list[int] = []

    def count(graph: torch.fx.GraphModule, example: list[torch.Tensor]) -> object:
        compiled.append(len(graph.graph.nodes))
        return graph.forward

    original = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: original(function, backend=count, **options)
    )
    network = build(small_config(QWEN2.__class__(**{**vars(QWEN2), "max_positions": 2048})))
    engine = engine_module.InferenceEngine(network, compile_stages=True)
    prompts = [5, 40, 70, *(130 + LONG_ROWS * number for number in range(7))]
    for prompt in prompts:
        inputs = observation(network.config, prompt)
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=5e-5)
    assert len({engine._lay_out(prompt).padded for prompt in prompts}) == len(prompts) > 8
    assert len(compiled) == 2 + len(prompts)
