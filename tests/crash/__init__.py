"""Kill processes at random and balance the books."""
