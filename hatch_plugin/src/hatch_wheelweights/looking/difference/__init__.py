"""Two files compared: which tensors they share, under which names, and how far their values are apart."""
