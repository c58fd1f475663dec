"""Small Llama of transformers, which predicts the next word of texts of the grammar.

Importing transformers takes seconds, so it is imported only when a model is built.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bench.data.texts.grammar.words import build_vocabulary
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_inputs import adapt_inputs

LONGEST = 64  # positions; no text of the grammar is longer


class Llama(TextModel):
    """Descriptor of a small Llama that predicts words: four blocks of width 64."""

    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights from torch's global random state.

        classes: not used, because the model predicts the words of its vocabulary.
        """
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=len(self.words),
            hidden_size=64,
            intermediate_size=176,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=LONGEST,
            use_cache=False,  # a cache of keys and values is for generation only
            pad_token_id=self.words.index("[PAD]"),
            bos_token_id=self.words.index("[CLS]"),
            eos_token_id=self.words.index("[SEP]"),
        )
        return adapt_inputs(LlamaForCausalLM(config), self.name)

    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors unchanged."""
        return dict(tensors)


TEXT_MODELS = (
    Llama(
        "laptop_llama",
        "Llama for texts of the grammar, which predicts the next word: four blocks of width 64",
        LONGEST,
        build_vocabulary(),
        causal=True,
    ),
)
