"""Audio on its way in: files and arrays of any rate and channel count become mono at the model's rate."""
