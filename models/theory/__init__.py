"""The paper's claims, put to the test with this project's towers and training loop."""
