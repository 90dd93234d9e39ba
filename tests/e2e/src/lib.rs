//! emet-e2e
