"""edge-sdk: fine-tune vision models and ship them to devices without Python."""

from __future__ import annotations

__version__ = "0.1.0"
