"""A page to look at scored scans in three dimensions, in one file that needs no network."""

from btp.drawing.viewer.page import write_viewer
from btp.drawing.viewer.scan import ViewedScan

__all__ = ["ViewedScan", "write_viewer"]
