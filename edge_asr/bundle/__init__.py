"""The bundle: a directory with everything a device needs (graphs, tokens, configuration, thresholds)."""
