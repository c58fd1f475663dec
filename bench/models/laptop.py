"""Models of the laptop profile: narrow versions of the paper's four architectures.

Some of them are also shallower. They consist of classes of timm and torchvision, so blocks and
activations equal those of the large models. Stem, norms or initialisation differ in some models.
`freezebench list models` prints the first docstring line of each builder.
"""

from __future__ import annotations

from collections.abc import Callable

from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.vgg import make_layers

DROPOUT = 0.0  # dropout does not help in runs of 1,000 to 1,500 steps


class ThinVGG(nn.Module):
    """torchvision's VGG with a smaller classifier that fits narrow features."""

    def __init__(self, features: nn.Sequential, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(True),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, hidden),
            nn.ReLU(True),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, 3, R, R)."""
        scores: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return scores


def build_resnet(
    classes: int, resolution: int, blocks: tuple[int, ...] = (1, 1, 1, 1), width: int = 16
) -> nn.Module:
    """Bottleneck ResNet: deep stem, four stages of one block, 19 convolutions."""
    model: nn.Module = ResNet(
        Bottleneck,
        blocks,
        num_classes=classes,
        stem_type="deep",
        stem_width=8,
        channels=tuple(width * 2**stage for stage in range(4)),
    )
    return model


def build_resnet_deep(classes: int, resolution: int) -> nn.Module:
    """Narrower bottleneck ResNet with the 16 blocks of ResNet-50, 55 convolutions."""
    return build_resnet(classes, resolution, blocks=(3, 4, 6, 3), width=8)


def build_vgg11(classes: int, resolution: int) -> nn.Module:
    """VGG11 with BatchNorm: eight convolutions and three linear layers.

    Without BatchNorm, a network this narrow does not learn in the steps of the profile.
    """
    return _build_vgg(classes, 16, (1, 1, 2, 2, 2))


def build_vgg16(classes: int, resolution: int) -> nn.Module:
    """VGG16 with BatchNorm, narrower than laptop_vgg11: thirteen convolutions."""
    return _build_vgg(classes, 10, (2, 2, 3, 3, 3))


def _build_vgg(classes: int, width: int, convolutions: tuple[int, ...]) -> nn.Module:
    stages: list[str | int] = []
    for stage, number in enumerate(convolutions):
        stages += ["M"] * (stage > 0) + [width * min(2**stage, 8)] * number
    return ThinVGG(make_layers(stages, batch_norm=True), 8 * width, 128, classes)


def build_mobilenet_v2(classes: int, resolution: int, repeats: int = 2) -> nn.Module:
    """MobileNetV2: seven inverted residuals, 22 convolutions."""
    blocks = [[1, 16, 1, 1], [4, 32, repeats, 2], [4, 48, repeats, 1], [4, 80, repeats, 2]]
    model: nn.Module = MobileNetV2(
        num_classes=classes, inverted_residual_setting=blocks, width_mult=0.5, dropout=DROPOUT
    )
    return model


def build_mobilenet_v2_deep(classes: int, resolution: int) -> nn.Module:
    """MobileNetV2 with 16 inverted residuals, 49 convolutions."""
    return build_mobilenet_v2(classes, resolution, repeats=5)


def build_deit(classes: int, resolution: int, width: int = 48, depth: int = 6) -> nn.Module:
    """DeiT: patches of 6 × 6 pixels, six blocks of width 48."""
    model = VisionTransformer(
        img_size=resolution,
        patch_size=6,
        embed_dim=width,
        depth=depth,
        num_heads=3,
        num_classes=classes,
        weight_init="jax",
    )
    # DeiT initialises weights and positions with a standard deviation of 0.02, for width 192 and
    # 300 epochs. With that, this model is still at chance accuracy after the short pretraining.
    nn.init.trunc_normal_(model.pos_embed, std=0.3)
    built: nn.Module = model
    return built


def build_deit_deep(classes: int, resolution: int) -> nn.Module:
    """Narrower DeiT with twelve blocks of width 36."""
    return build_deit(classes, resolution, width=36, depth=12)


LAPTOP: dict[str, Callable[[int, int], nn.Module]] = {
    "laptop_resnet": build_resnet,
    "laptop_vgg11": build_vgg11,
    "laptop_mobilenet_v2": build_mobilenet_v2,
    "laptop_deit": build_deit,
    # Other widths and depths, for the training corpus of SmartFRZ's predictor.
    "laptop_resnet_deep": build_resnet_deep,
    "laptop_vgg16": build_vgg16,
    "laptop_mobilenet_v2_deep": build_mobilenet_v2_deep,
    "laptop_deit_deep": build_deit_deep,
}
