//! emet-client
