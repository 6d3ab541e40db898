"""Process-wide state: devices, memory, and random number generators."""
