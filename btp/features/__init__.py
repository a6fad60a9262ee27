"""Features of a data set's scans: computed once, kept on disk, loaded as sets."""
