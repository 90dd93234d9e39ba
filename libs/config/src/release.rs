//! Which releases of Emet talk to each other.
//!
//! Every call between services names the release of the caller ([`Announce`]), and the called side
//! refuses it where the two are of different major versions or more than one minor version apart
//! ([`ReleaseGuard`]): messages and stored formats are kept compatible that far
//! (docs/operations/cluster.md). The rule is symmetric, so one side has to check, and the version
//! that was not foreseen yet is never the one that decides.

use http::{HeaderValue, Request, Response};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Metadata of every call between services: the caller's release.
pub const RELEASE: &str = "emet-release";
/// Metadata of a call that was refused for its release: the release of the service.
pub const REFUSED_BY: &str = "emet-refused-by-release";

/// Services of tools that have no release: probes and gRPC browsers.
const FOR_TOOLS: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];
/// Minor versions that may lie between two processes of a cluster.
const SKEW: u32 = 1;

/// A release: `major.minor.patch`, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    major: u32,
    minor: u32,
    text: String,
}

/// What is no release.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no version; it is written like 1.4.2")]
pub struct NotARelease(String);

static CURRENT: OnceLock<Release> = OnceLock::new();

impl Release {
    /// The release of this process: what [`Self::make_current`] was given, else the version of the
    /// sources.
    pub fn current() -> &'static Self {
        CURRENT.get_or_init(|| Self {
            // Cargo has checked that they are numbers.
            major: env!("CARGO_PKG_VERSION_MAJOR").parse().unwrap_or_default(),
            minor: env!("CARGO_PKG_VERSION_MINOR").parse().unwrap_or_default(),
            text: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Says what this process is. A process has one release, and knows it before it listens or
    /// connects: later calls change nothing.
    pub fn make_current(self) {
        drop(CURRENT.set(self));
    }

    /// Whether processes of these releases may be in one cluster.
    pub fn works_with(&self, other: &Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= SKEW
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Release {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, NotARelease> {
        let wrong = || NotARelease(text.chars().take(64).collect());
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        if text.len() > 64 || !text.chars().all(plain) {
            return Err(wrong());
        }
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<u32> =
            core.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match numbers.as_slice() {
            [major, minor, _patch] => {
                Ok(Self { major: *major, minor: *minor, text: text.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

/// Whether a call was refused for the release of its caller, so that it was not executed.
pub fn is_skew(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.metadata().contains_key(REFUSED_BY)
}

/// Adds a release to calls.
#[derive(Clone, Debug)]
pub struct Announce(MetadataValue<Ascii>);

impl Announce {
    /// For a caller of this release.
    pub fn new(release: &Release) -> Self {
        // A release is printable ASCII, which is all that metadata may hold.
        let value = MetadataValue::try_from(release.text.as_str());
        Self(value.unwrap_or_else(|_| MetadataValue::from_static("")))
    }
}

impl Interceptor for Announce {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        request.metadata_mut().insert(RELEASE, self.0.clone());
        Ok(request)
    }
}

/// The layer of a server that refuses callers of releases too far from its own.
#[derive(Clone, Debug)]
pub struct ReleaseGuard(Release);

impl ReleaseGuard {
    /// For a service of this release.
    pub fn new(release: &Release) -> Self {
        Self(release.clone())
    }

    /// Why a call is refused, if it is.
    fn refusal(&self, path: &str, given: Option<&HeaderValue>) -> Option<Status> {
        let own = &self.0;
        let caller = match given {
            // By far the most frequent: nothing to parse.
            Some(value) if value.as_bytes() == own.text.as_bytes() => return None,
            Some(value) => value.to_str().unwrap_or_default().parse::<Release>().ok(),
            None if FOR_TOOLS.iter().any(|tools| path.starts_with(tools)) => return None,
            None => None,
        };
        let reason = match caller {
            Some(caller) if caller.works_with(own) => return None,
            Some(caller) => format!("the caller is {caller}, this service {own}"),
            None => format!("the caller does not say its release, this service is {own}"),
        };
        let mut status = Status::failed_precondition(format!(
            "VersionSkew: {reason}; processes of a cluster are at most one minor version apart (emet explain version-skew)"
        ));
        if let Ok(own) = own.text.parse() {
            status.metadata_mut().insert(REFUSED_BY, own);
        }
        Some(status)
    }
}

impl<S> Layer<S> for ReleaseGuard {
    type Service = ReleaseGuardService<S>;

    fn layer(&self, inner: S) -> ReleaseGuardService<S> {
        ReleaseGuardService { inner, guard: self.clone() }
    }
}

/// A service that looks at the releases of its callers.
#[derive(Clone, Debug)]
pub struct ReleaseGuardService<S> {
    inner: S,
    guard: ReleaseGuard,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S, B> Service<Request<B>> for ReleaseGuardService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        match self.guard.refusal(request.uri().path(), request.headers().get(RELEASE)) {
            None => Box::pin(self.inner.call(request)),
            Some(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn one_minor_version_apart_works_in_both_directions_and_more_in_none() {
        for (one, other, works) in [
            ("1.4.2", "1.4.2", true),
            ("1.4.2", "1.4.0-rc.1", true),
            ("1.4.2", "1.5.0", true),
            ("1.4.9", "1.6.0", false),
            ("1.9.0", "2.0.0", false),
            ("0.1.0", "0.2.0+build.7", true),
            ("0.1.0", "0.3.0", false),
        ] {
            assert_eq!(release(one).works_with(&release(other)), works, "{one} {other}");
            assert_eq!(release(other).works_with(&release(one)), works, "{other} {one}");
        }
    }

    #[test]
    fn what_is_no_release_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.-2.3", "1.2.x", "1.2.3 ", "1.2.3\n"] {
            assert!(text.parse::<Release>().is_err(), "{text:?}");
        }
        assert!("1.2.3-".to_owned().repeat(20).parse::<Release>().is_err());
    }

    #[test]
    fn the_current_release_is_that_of_the_sources() {
        assert_eq!(*Release::current(), release(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn only_tools_may_leave_their_release_out() {
        let guard = ReleaseGuard::new(&release("1.4.2"));
        let refused = |path: &str, given: Option<&'static str>| {
            guard.refusal(path, given.map(HeaderValue::from_static).as_ref()).is_some()
        };
        let ours = "/emet.workers.v1.Workers/Invoke";
        assert!(refused(ours, None));
        assert!(refused(ours, Some("whatever")));
        assert!(!refused(ours, Some("1.3.0")));
        let health = "/grpc.health.v1.Health/Check";
        assert!(!refused(health, None));
        assert!(refused(health, Some("1.2.0")), "a service that is no use is not healthy");
    }
}
