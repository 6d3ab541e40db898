"""The base model and its adapter: loading, heads, PEFT configurations, quantisation."""
