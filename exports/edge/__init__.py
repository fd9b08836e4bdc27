"""The program inside a bundle: screen films with Python, NumPy and one small runtime."""
