"""Wait for a fault: the grammar of conditions, the decision, kept descriptors, and evidence."""
