"""What a sweep will cost, and what there is to pay with: size, compute, time, memory and disk."""
