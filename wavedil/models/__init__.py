"""Whole networks, built of the package's layers."""

from wavedil.models.aspp import ASPPv2, ASPPv3
from wavedil.models.context import ContextModule
from wavedil.models.keyword import KeywordModel, build_model

__all__ = ["ASPPv2", "ASPPv3", "ContextModule", "KeywordModel", "build_model"]
