"""The solo engine: one trial at a time with `transformers.Trainer`."""
