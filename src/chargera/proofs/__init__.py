"""What a stranger can check alone: notes, trees, receipts, signed values, OCPI documents."""
