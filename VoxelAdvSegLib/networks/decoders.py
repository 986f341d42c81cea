"""One encoder with several decoders that enlarge in different ways (MC-Net)."""

from __future__ import annotations

from torch import Tensor, nn

from VoxelAdvSegLib.networks.vnet import CONVOLUTIONS_PER_BLOCK, Convolution, Head, VNet, block_channels, unit

ENLARGEMENTS = ("trilinear", "nearest")  # of the second and the third decoder; the first one transposes


class Decoder(nn.Module):
    """Blocks 6 to 9 and a head, fed by the features of an encoder; enlarging, then a 3x3x3 convolution."""

    def __init__(self, filters: int, classes: int, norm: str, dropout: float, enlargement: str) -> None:
        super().__init__()
        channels = block_channels(filters)
        corners = True if enlargement == "trilinear" else None
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for level in range(5, 9):
            enlarge = nn.Upsample(scale_factor=2, mode=enlargement, align_corners=corners)
            convolution = Convolution(channels[level - 1], channels[level])
            self.ups.append(nn.Sequential(enlarge, *unit(convolution, norm, channels[level])))
            layers: list[nn.Module] = []
            for _ in range(CONVOLUTIONS_PER_BLOCK[level]):
                convolution = Convolution(channels[level], channels[level])
                layers += unit(convolution, norm, channels[level])
            self.blocks.append(nn.Sequential(*layers))
        self.dropout = nn.Dropout3d(dropout)
        self.head = Head(channels[8], classes)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits of the outputs of blocks 1 to 5."""
        hidden = self.dropout(features[4])
        for up, block, skip in zip(self.ups, self.blocks, features[3::-1], strict=True):
            hidden = block(up(hidden) + skip)
        return self.head(self.dropout(hidden))


class ManyDecoders(nn.Module):
    """A V-Net, whose own decoder is the first, with one or two more decoders on its encoder."""

    def __init__(self, network: VNet, classes: int, decoders: int) -> None:
        super().__init__()
        self.vnet = network
        self.others = nn.ModuleList(
            Decoder(network.filters, classes, network.norm, network.dropout.p, kind)
            for kind in ENLARGEMENTS[: decoders - 1]
        )

    def forward_all(self, volumes: Tensor) -> list[Tensor]:
        """Logits (B, K, D, H, W) of every decoder."""
        logits, features = self.vnet.forward_features(volumes)
        return [logits, *(decoder(features[:5]) for decoder in self.others)]

    def forward(self, volumes: Tensor) -> Tensor:
        """Logits of the first decoder: the plain V-Net."""
        return self.vnet(volumes)

    def plain_state(self) -> dict[str, Tensor]:
        """Weights of the plain V-Net: the other decoders are left out."""
        return dict(self.vnet.state_dict())
