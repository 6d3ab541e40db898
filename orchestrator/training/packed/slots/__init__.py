"""Trainable parameters of all slots: adapters, AdamW updates."""
