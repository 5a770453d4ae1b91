"""The version, in a file of its own so that neither the command line nor the build imports torch to read it."""

__version__ = "0.1.0"
