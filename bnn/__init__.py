"""Binary and ternary networks, and the geometry that explains them; the README shows the layout."""
