"""arXiv 2605.17276, "How Do Electrocardiogram Models Scale?", alone: numbers, claims, tables, figures."""
