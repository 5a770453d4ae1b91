"""Whole networks, built of the package's layers."""

from wavedil.models.keyword import KeywordModel, build_model

__all__ = ["KeywordModel", "build_model"]
