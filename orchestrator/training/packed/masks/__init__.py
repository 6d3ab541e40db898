"""Dropout masks. A mask depends only on its trial's own random stream and rows, never on the neighbours."""
