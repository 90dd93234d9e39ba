//! A cluster of real processes for tests.
