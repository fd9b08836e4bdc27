"""What brings jobs into the queue by itself."""
