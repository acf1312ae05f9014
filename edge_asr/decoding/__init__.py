"""Decoding: from spliced log-probabilities to tokens, and from tokens to text."""
