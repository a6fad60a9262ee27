"""Makers of defects that share nothing with `btp.data.synthesis.defects`, nor with each other."""
