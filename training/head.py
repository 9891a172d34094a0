"""GaitHeat's head on pooled features, and the loss that tells people apart by all strips together."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs

MARGIN, SCALE = 0.1, 25.0


class Head(nn.Module):
    """Projections and neck of one branch, with a cosine classifier over the training people."""

    def __init__(self, parts: int, channels: int, dim: int, people: int) -> None:
        super().__init__()
        self.fcs = SeparateFCs(parts, channels, dim)
        self.necks = SeparateBNNecks(parts, dim, people)

    def embed(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings `[n, strips, dim]`, strips of unit length, and cosines to the people `[n, people]`.

        Args:
            pooled: features of sequences, `[n, strips, channels]`.
        """
        after, cosines = self.necks(self.fcs(pooled))
        return after, cosines.mean(1)


def identity_loss(cosines: Tensor, people: Tensor) -> Tensor:
    """Cross-entropy of the mean cosine over all strips `[n, people]`, which is what a gallery compares."""
    one = F.one_hot(people, cosines.shape[1])
    return F.cross_entropy(SCALE * (cosines - MARGIN * one), people)
