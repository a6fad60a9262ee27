"""Pictures and pages of clouds: a small renderer and a viewer."""
