"""The gates: rules that a candidate must pass, on its metrics, test rows, data and latency."""
