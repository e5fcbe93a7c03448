"""How sure a number is, and what is concluded from it."""
