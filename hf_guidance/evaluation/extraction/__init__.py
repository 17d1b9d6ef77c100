"""What extract_maps is made of: its plan, its batches, and its share of the work where there are several processes."""
