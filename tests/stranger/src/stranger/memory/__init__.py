"""A gallery store in the memory of this process, for tests and demonstrations."""
