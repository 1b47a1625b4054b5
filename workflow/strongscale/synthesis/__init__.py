"""What a trained autoencoder makes: reconstructions, new nodules, and whether those are new and alike."""
