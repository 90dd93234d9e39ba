//! Starting: where logs and traces go.

use crate::{metrics, trace};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Where logs and traces go.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Observability")]
pub struct Options {
    /// How log lines are written to standard error.
    #[arg(long, env = "EMET_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,emet_worker_executor=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info,openraft=warn")]
    pub log: String,
    /// Collector that traces are sent to by OTLP over gRPC, such as http://localhost:4317.
    #[arg(long, env = "EMET_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that are kept, 0 to 1, where the caller has not decided it.
    #[arg(long, env = "EMET_TRACE_RATIO", default_value_t = 1.0)]
    pub trace_ratio: f64,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives of `--log` are wrong.
    #[error("--log (RUST_LOG) is wrong: {0}")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// The endpoint of the collector is wrong.
    #[error("--otlp-endpoint: {0}")]
    Endpoint(String),
    /// The ratio is not one.
    #[error("--trace-ratio is not a number from 0 to 1")]
    Ratio,
    /// Another part of the process has started it already.
    #[error("logs have a destination already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends what is left when it is dropped.
#[must_use = "traces end when it is dropped"]
#[derive(Debug)]
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Starts logs and traces of this process; `role` becomes the service name `emet-ROLE`, `version` is
/// shown in traces and metrics. To be called once, inside of the Tokio runtime, which the exporter uses.
///
/// # Errors
/// An option is wrong, or it was called before.
pub fn init(role: &str, version: &str, options: &Options) -> Result<Guard, TelemetryError> {
    metrics::process::set_version(version);
    let directives = EnvFilter::try_new(&options.log)?;
    let provider = match &options.otlp_endpoint {
        Some(endpoint) => Some(provider(role, version, endpoint, options.trace_ratio)?),
        None => None,
    };
    match &provider {
        // One filter for everything: what it disables costs nothing.
        None => Registry::default().with(directives).with(lines(options.log_format)).try_init()?,
        Some(provider) => {
            let tracer = provider.tracer("emet");
            let kept = Targets::new()
                .with_target(trace::TARGET, LevelFilter::TRACE)
                .with_target(trace::REQUESTS, LevelFilter::INFO);
            let traces = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(kept);
            let logs = lines(options.log_format).with_filter(directives);
            Registry::default().with(traces).with(logs).try_init()?;
            trace::enable();
        }
    }
    Ok(Guard(provider))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    }
}

fn provider(
    role: &str,
    version: &str,
    endpoint: &str,
    ratio: f64,
) -> Result<SdkTracerProvider, TelemetryError> {
    if !(0.0..=1.0).contains(&ratio) {
        return Err(TelemetryError::Ratio);
    }
    let uri: http::Uri =
        endpoint.parse().map_err(|e| TelemetryError::Endpoint(format!("{endpoint}: {e}")))?;
    if uri.scheme_str() != Some("http") {
        // An encrypted way to the collector is that of a collector beside the process.
        return Err(TelemetryError::Endpoint(format!("{endpoint}: such as http://localhost:4317")));
    }
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|e| TelemetryError::Endpoint(e.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(format!("emet-{role}"))
        .with_attribute(opentelemetry::KeyValue::new("service.version", version.to_owned()))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .with_sampler(sampler);
    Ok(provider.build())
}
