"""BatchScorer: recommendations to many users, made with the model that was just pushed."""
