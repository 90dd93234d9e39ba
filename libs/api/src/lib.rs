//! emet-api
