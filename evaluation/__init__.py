"""What a score model is worth: distances to known laws, how well it denoises, pictures; likelihoods have a room of their own."""
