"""Made-up scans: shapes, a scanner, defects; the demo set, and sets made of one's own meshes."""
