"""The streaming contract, checked: for the layers of this package and for anybody's own."""

from wavedil.testing.backends import check_backend
from wavedil.testing.contract import Report, verify_streaming_contract

__all__ = ["Report", "check_backend", "verify_streaming_contract"]
