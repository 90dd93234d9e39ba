//! emet-runtime
