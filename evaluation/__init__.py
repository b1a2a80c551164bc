"""What a trained score model is worth: likelihoods, distances to known laws, pictures."""
