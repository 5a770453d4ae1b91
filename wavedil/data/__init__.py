"""Datasets, the clip cache and augmentation; nothing here imports models."""
