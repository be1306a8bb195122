"""What is true: stations, transactions, tariffs, money and access, as values and pure functions."""
