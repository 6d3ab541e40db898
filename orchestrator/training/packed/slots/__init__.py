"""Trainable parameters: the adapter of one trial, the parameters of all slots, and AdamW over them."""
