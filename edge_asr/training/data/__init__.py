"""Corpora as lhotse manifests, cached features, augmentation and batches."""
