"""What runs learned, against what is known without learning, and how they went."""
