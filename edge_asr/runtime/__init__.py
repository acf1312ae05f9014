"""The runtime: engines run graphs, the encoder runs segments on chunks, stream and recogniser make text."""
