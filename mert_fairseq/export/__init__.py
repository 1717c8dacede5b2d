"""The trained model for others: Hugging Face folders, features, ONNX; and their weights for training."""
