"""The laptop profile's models: thin, shallow members of the paper's four families.

They are built by timm's and torchvision's own classes, so that blocks, norms, activations and
initialisation are those of the large models.
"""

from __future__ import annotations

from collections.abc import Callable

from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.vgg import make_layers

DROPOUT = 0.0  # a few hundred steps gain nothing from it


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
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) to scores (B, classes)."""
        scores: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return scores


def resnet(classes: int, resolution: int) -> nn.Module:
    """Bottleneck ResNet: deep stem, four stages of one block, 19 convolutions."""
    model: nn.Module = ResNet(
        Bottleneck,
        (1, 1, 1, 1),
        num_classes=classes,
        stem_type="deep",
        stem_width=8,
        channels=(16, 32, 64, 128),
    )
    return model


def vgg11(classes: int, resolution: int) -> nn.Module:
    """VGG11 with BatchNorm: eight convolutions and three linear layers.

    Without norms a net this thin does not train in the profile's few hundred steps.
    """
    width = 16
    stages: list[str | int] = [width, "M", 2 * width, "M", 4 * width, 4 * width, "M"]
    stages += [8 * width, 8 * width, "M", 8 * width, 8 * width]
    return ThinVGG(make_layers(stages, batch_norm=True), 8 * width, 128, classes)


def mobilenet_v2(classes: int, resolution: int) -> nn.Module:
    """MobileNetV2: seven inverted residuals, 22 convolutions."""
    blocks = [[1, 16, 1, 1], [4, 32, 2, 2], [4, 48, 2, 1], [4, 80, 2, 2]]
    model: nn.Module = MobileNetV2(
        num_classes=classes, inverted_residual_setting=blocks, width_mult=0.5, dropout=DROPOUT
    )
    return model


def deit(classes: int, resolution: int) -> nn.Module:
    """DeiT: patches of a sixth, six blocks of width 48."""
    model = VisionTransformer(
        img_size=resolution,
        patch_size=6,
        embed_dim=48,
        depth=6,
        num_heads=3,
        num_classes=classes,
        weight_init="jax",
    )
    # DeiT's own start (weights and positions of 0.02) is for width 192 and 300 epochs; with it
    # this model is still at chance when the short pretraining ends.
    nn.init.trunc_normal_(model.pos_embed, std=0.3)
    built: nn.Module = model
    return built


LAPTOP: dict[str, Callable[[int, int], nn.Module]] = {
    "laptop_resnet": resnet,
    "laptop_vgg11": vgg11,
    "laptop_mobilenet_v2": mobilenet_v2,
    "laptop_deit": deit,
}
