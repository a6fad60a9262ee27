"""Errors that a user can cause. Each message says what was found, what was expected, what to do."""

from __future__ import annotations


class BTPError(Exception):
    """Base of all errors for bad input. The message stands on its own, without a traceback."""


class DataError(BTPError):
    """A cloud, mesh, label file or dataset folder is missing, unreadable or not as expected."""


class WeightsError(BTPError):
    """A weight file is missing, damaged, or belongs to another model."""


class ConfigError(BTPError):
    """A setting is unknown, out of range, or contradicts another one."""
