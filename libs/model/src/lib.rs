//! emet-model
