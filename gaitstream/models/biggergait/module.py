"""BiggerGait (Ye et al., 2025): every layer of a vision transformer through a gait network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.biggergait.backbone import Dinov2
from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows
from gaitstream.models.graphs.resnet import BasicBlock, SetBlock, Stem
from gaitstream.models.graphs.vit import EPS

CROP = (256, 128)
NET = (448, 224)
TOKENS = (32, 16)
GRID = (64, 32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDES = (2, 1, 1)
"""Of the gait network's stages two to four."""


class ForegroundBranch(nn.Module):
    """Foreground probability of every token; `up_sampling` and `bn_t` are for training."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bn_s = nn.BatchNorm1d(dim, affine=False)
        self.bn_t = nn.BatchNorm1d(2, affine=False)
        self.down_sampling = nn.Linear(dim, 2)
        self.up_sampling = nn.Linear(2, dim)

    def logit(self, tokens: Tensor) -> Tensor:
        """Logit of the foreground, class 1: `[n, t, dim]` to `[n, t]`; above 0 a token belongs."""
        flat = F.layer_norm(tokens, tokens.shape[-1:], eps=EPS).flatten(0, 1)
        scores = self.down_sampling(self.bn_s(flat))
        logits: Tensor = scores[:, 1] - scores[:, 0]
        return logits.reshape(tokens.shape[:2])


def human_space(dim: int, hidden: int, outputs: int) -> nn.Sequential:
    """What of a tap's channels goes into the gait network."""
    return nn.Sequential(
        nn.BatchNorm2d(dim, affine=False),
        nn.Conv2d(dim, hidden, 1),
        nn.BatchNorm2d(hidden, affine=False),
        nn.GELU(),
        nn.Conv2d(hidden, outputs, 1),
        nn.Upsample(size=GRID, mode="bilinear"),
        nn.BatchNorm2d(outputs, affine=False),
        nn.Sigmoid(),
    )


class TapNetwork(nn.Module):
    """A gait network of one or several taps."""

    def __init__(self, inputs: int, channels: tuple[int, ...], dim: int, parts: int, identities: int) -> None:
        super().__init__()
        self.pre_rgb = SetBlock(Stem(inputs, channels[0]))
        stages = nn.Sequential()
        for index, stride in enumerate(STRIDES, 1):
            block = BasicBlock(channels[index - 1], channels[index], stride)
            stages.add_module(f"layer{index + 1}", nn.Sequential(block))
        self.post_backbone = SetBlock(stages)
        self.FCs = SeparateFCs(parts, channels[-1], dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)

    def features(self, x: Tensor) -> Tensor:
        """Maps of frames: `[n, inputs, 64, 32]` to `[n, c, 32, 16]`."""
        out: Tensor = self.post_backbone(self.pre_rgb(x))
        return out


class GaitNets(nn.Module):
    """The gait networks; the released code lists each once more per tap, as `Gait_List`."""

    def __init__(self, networks: list[TapNetwork], taps: int) -> None:
        super().__init__()
        self.real_gait = nn.ModuleList(networks)
        every = taps // len(networks)
        self.Gait_List = nn.ModuleList(networks[tap // every] for tap in range(taps))


class BiggerGait(nn.Module):
    """The whole model, with the released key names.

    Args:
        dim: width of the transformer.
        depth: its blocks.
        group: consecutive blocks of one tap.
        heads: gait networks; consecutive taps share one.
        hidden: middle width of a tap's projection.
        appearance: its outputs.
        channels: widths of the gait networks' stages.
        embedding: dimensions of a part's embedding.
        parts: rows of the last map.
        identities: classes of the training classifiers; 0 leaves them empty.
    """

    def __init__(
        self,
        dim: int = 384,
        depth: int = 12,
        group: int = 1,
        heads: int = 12,
        hidden: int = 192,
        appearance: int = 16,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        embedding: int = 256,
        parts: int = 32,
        identities: int = 0,
        positions: int = 1370,
    ) -> None:
        super().__init__()
        self.taps = depth // group
        self.Backbone = Dinov2(dim, depth, positions=positions)
        self.Mask_Branch = ForegroundBranch(dim)
        self.HumanSpace_Conv = nn.ModuleList(
            human_space(group * dim, hidden, appearance) for _ in range(self.taps)
        )
        networks = [TapNetwork(appearance, channels, embedding, parts, identities) for _ in range(heads)]
        self.Gait_Net = GaitNets(networks, self.taps)

    def preprocess(self, crops: Tensor) -> Tensor:
        """Normalise and enlarge RGB crops uint8 `[n, 3, 256, 128]` to `[n, 3, 448, 224]`."""
        mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] * 255 for values in (MEAN, STD))
        dtype = self.Mask_Branch.down_sampling.weight.dtype
        centre = mean.round()  # half precision holds a pixel minus it exactly
        scaled = (crops.to(dtype) - centre.to(dtype)) / std.to(dtype) + ((centre - mean) / std).to(dtype)
        return F.interpolate(scaled, NET, mode="bilinear")

    def mask_logit(self, crops: Tensor) -> Tensor:
        """Logit of the foreground: crops uint8 `[n, 3, 256, 128]` to `[n, t]`."""
        return self.Mask_Branch.logit(self.Backbone(self.preprocess(crops))[-1])

    def features(self, crops: Tensor) -> list[Tensor]:
        """Maps of frames by tap: crops uint8 `[n, 3, 256, 128]` to `[n, c, 32, 16]` each."""
        outputs = self.Backbone(self.preprocess(crops))
        mask = (self.Mask_Branch.logit(outputs[-1]) > 0).to(outputs[-1].dtype).reshape(-1, 1, *TOKENS)
        mask = F.interpolate(mask, GRID, mode="nearest")
        whole = torch.cat(outputs, -1)
        normed = F.layer_norm(whole, whole.shape[-1:], eps=EPS)
        normed = normed.transpose(1, 2).reshape(crops.shape[0], -1, *TOKENS)
        maps = []
        taps = zip(normed.chunk(self.taps, 1), self.HumanSpace_Conv, self.Gait_Net.Gait_List, strict=True)
        for tap, space, network in taps:
            maps.append(network.features(space(tap) * mask))  # type: ignore[operator]
        return maps

    def embed(self, pooled: list[Tensor]) -> Tensor:
        """Embedding of the taps' maxima over time, `[n, taps * parts, dim]`."""
        return torch.cat(
            [
                network.FCs(pool_rows(one))  # type: ignore[operator]
                for one, network in zip(pooled, self.Gait_Net.Gait_List, strict=True)
            ],
            1,
        )

    def forward(self, crops: Tensor) -> Tensor:
        """A window's embedding: RGB uint8 `[n, s, 3, 256, 128]` to `[n, taps * parts, dim]`."""
        n, s = crops.shape[:2]
        maps = self.features(crops.flatten(0, 1))
        return self.embed([one.reshape(n, s, *one.shape[1:]).amax(1) for one in maps])
