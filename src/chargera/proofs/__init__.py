"""What a stranger can check with this alone: notes, trees, receipts, meter signatures, OCPI documents."""
