"""The command line `edge-asr`."""
