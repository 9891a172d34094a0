"""Protocols and metrics: retrieval, verification, open-set identification, tracking.

Everything takes plain arrays and returns plain numbers, so that it measures any model's embeddings.
"""
