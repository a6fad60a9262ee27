"""Score a person's own scans: heat maps, defect regions, verdicts, calibration, export."""
