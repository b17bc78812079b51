"""What a made file holds unless a test brings its own: four float32."""

from __future__ import annotations

import struct

VALUES = (1.0, 2.0, 3.0, 4.0)
FLOATS = struct.pack("<4f", *VALUES)
