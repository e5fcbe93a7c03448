"""The browser app: pages that call the package and hold no analysis of their own."""
