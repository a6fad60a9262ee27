"""Pictures of clouds, and an HTML page that shows them in three dimensions."""
