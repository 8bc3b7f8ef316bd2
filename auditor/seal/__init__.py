"""Signs what was written, and checks what was signed."""
