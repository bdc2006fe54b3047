"""What moved, what overlaps, what was lost: one file a measure."""
