"""Recording activations to HDF5, and reading them."""
