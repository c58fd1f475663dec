"""A small model of each family, with inputs, labels and random freeze masks for tests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from hypothesis import strategies as st
from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer as TorchVisionTransformer
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.vgg import make_layers

from bench.layers.discovery import Layer, find_layers
from tests.support.device import DEVICE

CLASSES = 5
WORDS = 11


class Plain(nn.Module):
    """VGG without norms: convolutions with biases, pooling, linear layers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers([4, "M", 8, 8, "M"])
        self.classifier = nn.Sequential(
            nn.Linear(8 * 4 * 4, 12),
            nn.ReLU(True),
            nn.Dropout(0.3),
            nn.Linear(12, CLASSES),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class Attention(nn.Module):
    """Self-attention with separate linear layers for queries, keys and values, as in BERT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = (*x.shape[:2], self.heads, -1)
        q, k, v = (f(x).view(split).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: torch.Tensor = self.norm(x + self.dropout(self.dense(mixed)))
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate = nn.Linear(width, 2 * width)
        self.output = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention(x)
        out: torch.Tensor = self.norm(x + self.output(F.gelu(self.intermediate(x))))
        return out


class Bert(nn.Module):
    """BERT: three embeddings, post-norm blocks, a pooler and a classifier."""

    def __init__(self, width: int = 12, depth: int = 2, heads: int = 3, length: int = 7) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.positions = nn.Embedding(length, width)
        self.kinds = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)
        self.layer = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, CLASSES)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        places = torch.arange(words.shape[1], device=words.device)[None]
        x = self.words(words) + self.positions(places) + self.kinds(torch.zeros_like(words))
        x = self.dropout(self.norm(x))
        for block in self.layer:
            x = block(x)
        logits: torch.Tensor = self.classifier(torch.tanh(self.pooler(x[:, 0])))
        return logits


def _build_transformers_bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    class Logits(BertForSequenceClassification):  # type: ignore[misc]  # untyped
        """BERT of the transformers library that returns its logits as a tensor."""

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = super().forward(*inputs).logits
            return logits

    shape = {"hidden_size": 12, "intermediate_size": 24, "max_position_embeddings": 32}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 3}
    model: nn.Module = Logits(BertConfig(vocab_size=WORDS, num_labels=CLASSES, **shape, **heads))
    return model


def _build_residual() -> nn.Module:
    model: nn.Module = ResNet(
        Bottleneck,
        (1, 1, 1, 1),
        num_classes=CLASSES,
        stem_type="deep",
        stem_width=4,
        channels=(4, 4, 4, 8),
        drop_path_rate=0.2,
    )
    return model


def _build_depthwise() -> nn.Module:
    blocks = [[1, 8, 1, 1], [3, 8, 2, 2]]
    model: nn.Module = MobileNetV2(CLASSES, width_mult=0.25, inverted_residual_setting=blocks)
    return model


def _build_vit() -> nn.Module:
    model: nn.Module = VisionTransformer(
        img_size=16,
        patch_size=8,
        embed_dim=12,
        depth=2,
        num_heads=3,
        num_classes=CLASSES,
        proj_drop_rate=0.1,
        drop_path_rate=0.2,
    )
    return model


def _build_torch_vit() -> nn.Module:
    model: nn.Module = TorchVisionTransformer(
        image_size=16,
        patch_size=8,
        num_layers=2,
        num_heads=3,
        hidden_dim=12,
        mlp_dim=24,
        num_classes=CLASSES,
        dropout=0.1,
    )
    return model


def make_images(samples: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return a batch of images, (samples, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(samples, 3, 16, 16, generator=generator).to(DEVICE),)


def make_sentences(samples: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return a batch of word ids, (samples, 7)."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, WORDS, (samples, 7), generator=generator).to(DEVICE),)


def make_texts(samples: int, seed: int = 0, length: int = 7) -> tuple[torch.Tensor, ...]:
    """Return a padded text batch: word ids, the mask of real words, and segment ids.

    Both kinds of ids are (samples, length). The mask is (samples, 1, 1, length).
    """
    generator = torch.Generator().manual_seed(seed)
    ids, segments = (
        torch.randint(0, high, (samples, length), generator=generator) for high in (WORDS, 2)
    )
    lengths = torch.randint(2, length + 1, (samples, 1), generator=generator)
    mask = (torch.arange(length) < lengths)[:, None, None]
    return ids.to(DEVICE), mask.to(DEVICE), segments.to(DEVICE)


def make_labels(samples: int, seed: int = 0) -> torch.Tensor:
    """Return a random class for each sample, (samples,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, CLASSES, (samples,), generator=generator).to(DEVICE)


@dataclass(frozen=True)
class Family:
    """Family of models: name, constructor, inputs and layers of its small model."""

    name: str
    _build: Callable[[], nn.Module]
    inputs: Callable[..., tuple[torch.Tensor, ...]]

    def model(self) -> nn.Module:
        """Return a new copy of the model in train mode. All copies have equal weights."""
        return copy.deepcopy(_build_model(self)).to(DEVICE)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the model."""
        return _find_layers(self)

    def draw_masks(self) -> st.SearchStrategy[frozenset[int]]:
        """Return a Hypothesis strategy for frozen layers: a prefix and others, never the head."""
        body = len(self.layers) - 1
        return st.builds(
            lambda prefix, more: frozenset(range(prefix)) | more,
            st.integers(0, body),
            st.frozensets(st.integers(0, body - 1)),
        )


@cache
def _build_model(family: Family) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return family._build().train()


@cache
def _find_layers(family: Family) -> tuple[Layer, ...]:
    return find_layers(family.model(), family.inputs(2))


FAMILIES = (
    Family("plain", Plain, make_images),
    Family("residual", _build_residual, make_images),
    Family("depthwise", _build_depthwise, make_images),
    Family("vit", _build_vit, make_images),
    Family("torch_vit", _build_torch_vit, make_images),
    Family("bert", Bert, make_sentences),
    Family("transformers_bert", _build_transformers_bert, make_texts),
)
