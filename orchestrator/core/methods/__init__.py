"""The methods of fine-tuning, initial values, and how the frozen weights are stored or divided."""
