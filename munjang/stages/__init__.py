"""The stages of a recipe: thin functions that join the parts."""
