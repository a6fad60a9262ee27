"""A person's own scans: scores, heat maps, regions, decisions."""
