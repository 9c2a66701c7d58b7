"""The language model: Qwen2 or Llama of transformers, and its attention masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model

from vla_adapter_ros.model.config_enums import Attention, LlmKind
from vla_adapter_ros.model.config_parts import LlmConfig


class LanguageModel(nn.Module):
    """Qwen2 or Llama without its word head, under the checkpoint's name `language_model.model`."""

    def __init__(self, config: LlmConfig, attention: Attention) -> None:
        super().__init__()
        self.attention, self.kind, self.bidirectional = attention, config.kind, config.bidirectional
        common: dict[str, Any] = {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden,
            "intermediate_size": config.intermediate,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "max_position_embeddings": config.max_positions,
            "rms_norm_eps": config.rms_norm_eps,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
            "initializer_range": config.init_std,
            "use_cache": False,
            "attn_implementation": str(attention),
        }
        self.model: LlamaModel | Qwen2Model
        if config.kind == LlmKind.LLAMA:
            self.model = LlamaModel(LlamaConfig(**common, pad_token_id=None))
        else:
            self.model = Qwen2Model(Qwen2Config(**common, use_sliding_window=False))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LanguageModel:
        """Convert, but keep the rotary frequencies in float32: rounding them moves hidden states by 0.5."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # it has no types in torch
        self.restore_frequencies()
        return self

    def restore_frequencies(self) -> None:
        """Recompute the rotary frequencies, which no checkpoint stores, on the weights' device."""
        rotary: Any = self.model.rotary_emb  # its buffers, which torch types as such, take plain tensors
        device = self.model.norm.weight.device
        frequencies, _ = rotary.compute_default_rope_parameters(self.model.config)
        rotary.inv_freq = frequencies.to(device)
        rotary.original_inv_freq = frequencies.to(device)

    def forward(self, embeddings: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the decoder.

        Args:
            embeddings: (B, T, hidden).
            mask: True for real tokens, bool (B, T); None means no padding. Positions count real tokens.

        Returns:
            The L hidden states, each (B, T, hidden): the embeddings, the raw output of every layer but
            the last, and the last one's after the final norm.
        """
        positions = None if mask is None else (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        # Without a mask the fused kernel is causal by itself; the written-out softmax is not.
        needs_bias = self.attention == Attention.EAGER or self.bidirectional or self.kind == LlmKind.LLAMA
        if mask is None and needs_bias:
            mask = torch.ones(1, embeddings.shape[1], dtype=torch.bool, device=embeddings.device)
        make_bias = full_bias if self.bidirectional else causal_bias
        bias = None if mask is None else make_bias(mask, embeddings.dtype)
        out = self.model(
            inputs_embeds=embeddings,
            # Qwen2 uses a mapping as it is; else the library looks for packed sequences in the
            # positions, which makes a GPU wait. Llama takes no mapping, but any mask of four axes.
            attention_mask=bias if self.kind == LlmKind.LLAMA else {"full_attention": bias},
            position_ids=positions,
            output_hidden_states=True,
        )
        return out.hidden_states


def causal_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask (B, 1, T, T): causal, padding hidden.

    Padding sees itself, so that no row is empty: an empty softmax row gives NaN in some kernels.
    """
    length = mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return _bias(causal & _real_or_itself(mask), dtype)


def full_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask (B, 1, T, T): every token sees all real ones; padding sees itself too."""
    return _bias(_real_or_itself(mask), dtype)


def _real_or_itself(mask: Tensor) -> Tensor:
    """(B, T) to bool (B, T, T)."""
    return mask[:, None, :] | torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)


def _bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return bias.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
