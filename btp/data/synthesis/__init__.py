"""Made-up scans: shapes, a scanner, defects, the demo set, one's own meshes."""
