//! What is counted, and told at `/.portclaim/metrics` for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// How its text is called.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the latencies that are told apart, seconds: from a cache to a model that thinks.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// What this program counts from its start on.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Status, Counter>,
    latency: Histogram,
    open: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("portclaim_interceptor");
        let requests = Family::default();
        let latency = Histogram::new(SECONDS);
        let open = Gauge::default();
        registry.register(
            "requests",
            "Requests, by the status of the answer; 499: the client did not wait for one",
            requests.clone(),
        );
        registry.register_with_unit(
            "latency",
            "From a request's head to that of its answer",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register(
            "open_streams",
            "Answers whose body has not come to its end",
            open.clone(),
        );
        Metrics {
            registry,
            requests,
            latency,
            open,
        }
    }

    /// Counts a request that is over, and how long its answer took, if it has one.
    pub(super) fn over(&self, status: u16, took: Option<Duration>) {
        self.requests.get_or_create(&Status { status }).inc();
        if let Some(took) = took {
            self.latency.observe(took.as_secs_f64());
        }
    }

    /// Counts an answer as open until what it returns is dropped.
    pub(super) fn open(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    /// Returns all of it as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes all that is written to it");
        text
    }
}

/// An answer that is open.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
