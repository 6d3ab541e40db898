"""Exports: plain PEFT folders, merged models, and GGUF files for llama.cpp."""
