"""The laptop profile's models: thin, shallow members of the paper's four families.

They are built by timm's and torchvision's own classes, so that blocks, norms, activations and
initialisation are those of the large models.
"""

from __future__ import annotations

from collections.abc import Callable

from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.vgg import make_layers

DROPOUT = 0.1


class ThinVGG(nn.Module):
    """torchvision's VGG with its classifier cut to the width of thin features."""

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
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images):  # type: ignore[no-untyped-def]
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def resnet(classes: int, resolution: int) -> nn.Module:
    """Bottleneck ResNet: deep stem, four stages of one block, 19 convolutions."""
    return ResNet(
        Bottleneck,
        (1, 1, 1, 1),
        num_classes=classes,
        stem_type="deep",
        stem_width=8,
        channels=(16, 32, 64, 128),
    )


def vgg11(classes: int, resolution: int) -> nn.Module:
    """VGG11: eight convolutions without norms and three linear layers."""
    width = 16
    stages: list[str | int] = [width, "M", 2 * width, "M", 4 * width, 4 * width, "M"]
    stages += [8 * width, 8 * width, "M", 8 * width, 8 * width]
    return ThinVGG(make_layers(stages), 8 * width, 128, classes)


def mobilenet_v2(classes: int, resolution: int) -> nn.Module:
    """MobileNetV2: seven inverted residuals, 22 convolutions."""
    blocks = [[1, 16, 1, 1], [4, 24, 2, 2], [4, 40, 2, 1], [4, 64, 2, 2]]
    return MobileNetV2(
        num_classes=classes, inverted_residual_setting=blocks, width_mult=1.0, dropout=DROPOUT
    )


def deit(classes: int, resolution: int) -> nn.Module:
    """DeiT: patches of a sixth, six blocks of width 64."""
    return VisionTransformer(
        img_size=resolution,
        patch_size=6,
        embed_dim=64,
        depth=6,
        num_heads=4,
        num_classes=classes,
    )


LAPTOP: dict[str, Callable[[int, int], nn.Module]] = {
    "laptop_resnet": resnet,
    "laptop_vgg11": vgg11,
    "laptop_mobilenet_v2": mobilenet_v2,
    "laptop_deit": deit,
}
