"""Fine-tuning against interference: the trainer, and one file a mitigation."""
