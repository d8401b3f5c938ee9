"""What the package raises. Each text says the operation, what was found and what was wanted:
``[attend] queries have head_dim 96, the cache was made for 128``."""

from __future__ import annotations

__all__ = ["BadFile", "FileError", "InvalidArgument", "OutOfPages", "QjlError", "Unsupported"]


class QjlError(Exception):
    """Every error of this package."""


class InvalidArgument(QjlError, ValueError):
    """A wrong shape, type, number, name or sequence; nothing was changed."""


class OutOfPages(QjlError, MemoryError):
    """The cache holds ``max_tokens`` already; nothing was changed."""


class BadFile(QjlError):
    """A file is damaged, truncated, or not of the format that it claims."""


class FileError(QjlError, OSError):
    """The operating system refused to open, read or write a file."""


class Unsupported(QjlError, NotImplementedError):
    """Valid, but outside what this build or version can do."""
