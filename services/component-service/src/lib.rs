//! emet-component-service
