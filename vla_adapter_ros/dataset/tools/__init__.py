"""What makes data sets out of recordings and of other data sets, and drafts contracts for them."""
