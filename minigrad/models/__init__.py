"""The reference networks, as functions that build them."""

from minigrad.models.bottleneck import bottleneck
from minigrad.models.nin import nin

__all__ = ["bottleneck", "nin"]
