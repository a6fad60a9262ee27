"""A page to look at scored scans in three dimensions, in one file that needs no network."""

from btp.report.viewer.page import write_viewer
from btp.report.viewer.scan import ViewedScan

__all__ = ["ViewedScan", "write_viewer"]
