"""Are the films of a night still like those before, and like those of the model?"""
