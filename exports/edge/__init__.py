"""The program inside a bundle: screens films with Python, NumPy and one small runtime."""
