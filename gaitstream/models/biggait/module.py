"""BigGait as published (Ye et al., CVPR 2024; OpenGait `BigGait__Dinov2_Gaitbase`), written densely.

Nothing is gathered: every branch runs on all pixels and is multiplied by the foreground's support.
A linear layer commutes with bilinear upsampling (its weights sum to one), so tokens are projected on
the 32 x 16 grid and the result is upsampled, which needs 1, 768 or 16 channels instead of 384 or 1536.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows, temporal_max
from gaitstream.models.graphs.resnet import SetBlock, Stem, trunk
from gaitstream.models.graphs.vit import VisionTransformer

CROP = (256, 128)
IMAGE = (448, 224)
GRID = (64, 32)
EDGE_ROWS = 5
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def needed_width(ratios: Tensor, height: int) -> Tensor:
    """Width of a person at this height, `int(float32(height) * ratio)`, as float `[n]`."""
    return torch.floor(float(height) * ratios)


def pad_matrix(ratios: Tensor, width: int, height: int, target: int) -> Tensor:
    """The linear map that resizes rows to the needed width and then pads or cuts them to `target`.

    Args:
        ratios: width / height of the original boxes, float32 `[n]`.
        width: present width of the rows.
        height: target height that the ratio refers to.
        target: target width.

    Returns:
        `[n, width, target]`; columns of padding are zero.
    """
    need = needed_width(ratios, height)[:, None]
    # floor towards minus infinity in both branches, as the released integer division does
    column = torch.arange(target, device=ratios.device) - torch.floor((target - need) / 2)
    inside = (column >= 0) & (column < need)
    source = ((column + 0.5) * (width / need.clamp(min=1)) - 0.5).clamp(0, width - 1)
    low = source.floor()
    fraction = (source - low)[:, None]
    index = torch.arange(width, device=ratios.device)[None, :, None]
    low = low[:, None]
    weights = (index == low) * (1 - fraction) + (index == low + 1) * fraction
    return weights * inside[:, None]


def valid_columns(ratios: Tensor) -> Tensor:
    """Columns of the 64 x 32 grid that hold the person and not padding, 0 or 1, `[n, 32]`."""
    need = needed_width(ratios, GRID[0])[:, None]
    left = torch.floor((GRID[1] - need) / 2)
    column = torch.arange(GRID[1], device=ratios.device, dtype=ratios.dtype)
    return (column - left + 1).clamp(0, 1) * (left + need - column).clamp(0, 1)


def choose_class(probability: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground probability: class 0, or class 1 where class 0 fills the top and bottom rows.

    Args:
        probability: of class 0, `[n, 64, 32]`.
        valid: `[n, 1, 32]`.

    Returns:
        The chosen probability `[n, 64, 32]`, 0 outside valid columns, and the edge counts `[n]`.
    """
    first = torch.round(probability) * valid
    edge = first[:, :EDGE_ROWS].sum((1, 2)) + first[:, -EDGE_ROWS:].sum((1, 2))
    flipped = edge > GRID[1] * EDGE_ROWS
    return torch.where(flipped[:, None, None], 1 - probability, probability) * valid, edge


def close(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Morphological closing whose border is neutral, by maximum pooling.

    Args:
        mask: 0 or 1, `[n, 64, 32]`.

    Returns:
        The 3 x 3 dilation and its 5 x 5 erosion, both `[n, 64, 32]`.
    """
    dilated = F.max_pool2d(mask[:, None], 3, 1, 1)
    eroded = 1 - F.max_pool2d(1 - dilated, 5, 1, 2)
    return dilated[:, 0], eroded[:, 0]


class Branch(nn.Module):
    """A projection of tokens: normalisation without affine, linear, optionally a hidden layer."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int | None = None) -> None:
        super().__init__()
        self.bn_s = nn.BatchNorm1d(inputs, affine=False)
        self.bn_t = nn.BatchNorm1d(outputs, affine=False)
        self.down_sampling: nn.Module
        if hidden is None:
            self.down_sampling = nn.Linear(inputs, outputs)
        else:
            self.down_sampling = nn.Sequential(
                nn.Linear(inputs, hidden),
                nn.BatchNorm1d(hidden, affine=False),
                nn.GELU(),
                nn.Linear(hidden, outputs),
            )


def _per_token(layer: nn.Module, tokens: Tensor) -> Tensor:
    out: Tensor = layer(tokens.flatten(0, 1))
    return out.reshape(*tokens.shape[:2], -1)


def upsample(tokens: Tensor) -> Tensor:
    """Token rows `[n, 512, c]` to a map `[n, 64, 32, c]`."""
    grid = tokens.reshape(len(tokens), GRID[0] // 2, GRID[1] // 2, -1).permute(0, 3, 1, 2)
    return F.interpolate(grid, GRID, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)


class AttentionFusion(nn.Module):
    """Weighs two feature maps against each other, per channel and pixel."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv = SetBlock(
            nn.Sequential(
                nn.Conv2d(2 * channels, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(),
                nn.Conv2d(hidden, 2 * channels, 1, bias=False),
            )
        )

    def forward(self, denoising: Tensor, appearance: Tensor) -> Tensor:
        """Fuse two maps `[n, c, h, w]` into one."""
        score = self.conv(torch.cat([denoising, appearance], 1))
        weights = torch.softmax(score.reshape(len(score), -1, 2, *GRID), 2)  # channel = c * 2 + d
        return denoising * weights[:, :, 0] + appearance * weights[:, :, 1]


class GaitNet(nn.Module):
    """Two stems, their fusion, the trunk and the head."""

    def __init__(
        self,
        widths: tuple[int, int] = (16, 16),
        channels: tuple[int, int, int, int] = (64, 128, 256, 512),
        hidden: int = 4,
        parts: int = 16,
        dim: int = 256,
        identities: int = 0,
    ) -> None:
        super().__init__()
        self.pre_part = SetBlock(Stem(widths[0], channels[0]))
        self.pre_rgb = SetBlock(Stem(widths[1], channels[0]))
        self.post_backbone = SetBlock(trunk(channels))
        self.FCs = SeparateFCs(parts, channels[3], dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)
        self.fusion = AttentionFusion(channels[0], hidden)

    def fuse(self, denoising: Tensor, appearance: Tensor) -> Tensor:
        """Fused low-level features `[n, c1, 64, 32]` of two maps `[n, 16, 64, 32]`."""
        out: Tensor = self.fusion(self.pre_part(denoising), self.pre_rgb(appearance))
        return out


@dataclass(frozen=True)
class Maps:
    """What one frame graph computes on the way; n is the number of frames."""

    mask_logit: Tensor
    """Logit of class 0 against class 1, `[n, 64, 32]`."""
    valid: Tensor
    """Columns that hold the person, 0 or 1, `[n, 1, 32]`."""
    mask_prob: Tensor
    """Both classes' probabilities, 0 outside the valid columns, `[n, 64, 32, 2]`."""
    edge_sum: Tensor
    """Class-0 pixels in the five top and bottom rows, `[n]`."""
    foreground: Tensor
    """Closed foreground with soft values on the ring, `[n, 64, 32]`; support is where it is not 0."""
    denoising: Tensor
    """`[n, 64, 32, 16]`, 0 outside the support."""
    appearance: Tensor
    """`[n, 64, 32, 16]`, 0 outside the support."""
    fused: Tensor
    """`[n, c1, 64, 32]`."""
    post: Tensor
    """The frame's features, `[n, c4, 16, 8]`."""


class BigGait(nn.Module):
    """BigGait for inference, with the released checkpoint's key names.

    Sizes are those of the released model by default; `checkpoint.load_module` reads them from a
    checkpoint. The embedding is the feature before the neck.
    """

    def __init__(
        self,
        *,
        dim: int = 384,
        depth: int = 12,
        hidden: int | None = None,
        denoising_hidden: int | None = None,
        positions: int = 1370,
        net: GaitNet | None = None,
        widths: tuple[int, int] = (16, 16),
    ) -> None:
        super().__init__()
        self.Denoising_Branch = Branch(4 * dim, widths[0], hidden=denoising_hidden or 2 * dim)
        self.Appearance_Branch = Branch(4 * dim, widths[1])
        self.Mask_Branch = Branch(dim, 2)
        self.gait_net = net or GaitNet(widths)
        self.backbone = VisionTransformer(dim, depth, hidden, positions)

    @staticmethod
    def preprocess(rgb: Tensor, ratios: Tensor) -> Tensor:
        """Normalise and resize.

        Args:
            rgb: `[n, 3, h, w]` in 0..255. Where h is not 2 * w the frame is stretched over the whole
                picture, and is first resized by its ratio and padded with the mean colour or cut.
            ratios: width / height of the original boxes, float32 `[n]`.

        Returns:
            Float32 `[n, 3, 448, 224]`.
        """
        mean = 255 * torch.tensor(MEAN, dtype=torch.float64).reshape(3, 1, 1)
        std = 255 * torch.tensor(STD, dtype=torch.float64).reshape(3, 1, 1)
        images = ((rgb.double() - mean) / std).float()
        height, width = images.shape[-2:]
        if height != 2 * width:
            rows = F.interpolate(images, (CROP[0], width), mode="bilinear", align_corners=False)
            images = rows @ pad_matrix(ratios, width, *CROP)[:, None]
        return F.interpolate(images, IMAGE, mode="bilinear", align_corners=False)

    def maps(self, images: Tensor, ratios: Tensor) -> Maps:
        """Encode frames and keep the intermediate maps.

        Args:
            images: normalised RGB `[n, 3, 448, 224]`.
            ratios: width / height of the original boxes, float32 `[n]`.
        """
        last, middle = self.backbone(images)
        valid = valid_columns(ratios)[:, None]
        logits = upsample(self._mask_logits(last))
        mask = torch.softmax(logits, -1)
        probability, edge = choose_class(mask[..., 0], valid)
        dilated, eroded = close(torch.round(probability))
        foreground = eroded + (dilated - eroded) * probability
        support = (foreground != 0).to(images.dtype)[..., None]
        denoising = torch.softmax(self._denoise(middle), -1) * support
        appearance = torch.sigmoid(upsample(self._appearance_logits(middle))) * support
        fused = self.gait_net.fuse(denoising.permute(0, 3, 1, 2), appearance.permute(0, 3, 1, 2))
        post = self.gait_net.post_backbone(fused)
        return Maps(
            logits[..., 0] - logits[..., 1],
            valid,
            mask * valid[..., None],
            edge,
            foreground,
            denoising,
            appearance,
            fused,
            post,
        )

    def _mask_logits(self, tokens: Tensor) -> Tensor:
        branch = self.Mask_Branch
        return _per_token(nn.Sequential(branch.bn_s, branch.down_sampling), tokens)

    def _appearance_logits(self, tokens: Tensor) -> Tensor:
        branch = self.Appearance_Branch
        return _per_token(nn.Sequential(branch.bn_s, branch.down_sampling, branch.bn_t), tokens)

    def _denoise(self, tokens: Tensor) -> Tensor:
        branch = self.Denoising_Branch
        assert isinstance(branch.down_sampling, nn.Sequential)  # noqa: S101 - narrows the type
        linear, norm, gelu, project = branch.down_sampling
        hidden = upsample(_per_token(nn.Sequential(branch.bn_s, linear, norm), tokens))
        out: Tensor = project(gelu(hidden))
        return out

    def head(self, pooled: Tensor) -> Tensor:
        """Embed pooled features `[n, c4, 16, 8]` as `[n, parts, dim]`."""
        out: Tensor = self.gait_net.FCs(pool_rows(pooled))
        return out

    def forward(self, rgb: Tensor, ratios: Tensor, lengths: list[int] | None = None) -> Tensor:
        """Embed sequences.

        Args:
            rgb: `[n, s, 3, h, w]` in 0..255.
            ratios: `[n, s]`.
            lengths: see `heads.temporal_max`.

        Returns:
            `[sequences, parts, dim]`.
        """
        flat = ratios.flatten()
        features = self.maps(self.preprocess(rgb.flatten(0, 1), flat), flat).post
        return self.head(temporal_max(features.reshape(*rgb.shape[:2], *features.shape[1:]), lengths))
