"""How the films of one job are spread over processors."""
