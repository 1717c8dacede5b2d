"""What a run learned, against what is known without learning."""
