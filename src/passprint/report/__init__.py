"""What people look at: figures as text, comparisons, terminal tables, progress."""
