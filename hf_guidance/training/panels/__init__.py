"""What AttributionPanel shows: which rows, their maps, the picture, and where it goes."""
