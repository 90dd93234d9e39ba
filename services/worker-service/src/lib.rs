//! emet-worker-service
