"""Comparison with other recognisers: same files, same machine, same threads, one process and one environment each."""
