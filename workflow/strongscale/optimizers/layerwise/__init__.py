"""What optimizers share that go by layers."""
