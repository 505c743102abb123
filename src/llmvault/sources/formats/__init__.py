"""File formats of models, read without trusting a byte: headers only, never the weights."""
