"""Reading, listing, making and preparing point clouds."""
