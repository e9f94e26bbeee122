"""The type of pixels outside the engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""float32 samples: (H, W), or (H, W, channels), sRGB-encoded in [0, 1] where they are colours."""
