"""An HTML page that shows scored scans in three dimensions, one file that needs no network."""

from btp.drawing.viewer.page import write_viewer
from btp.drawing.viewer.scan import ViewedScan

__all__ = ["ViewedScan", "write_viewer"]
