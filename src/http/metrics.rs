//! Metrics, in the text format that Prometheus collects.

use prometheus::core::Collector;
use prometheus::{Counter, Gauge, GaugeVec, Opts, Registry, TextEncoder};
use standin_io::http::HttpResponse;

/// What the text format is called.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of one moment, gathered when they are asked for: nothing is counted for them on the way of a request.
#[derive(Debug, Default)]
pub(super) struct Metrics(Registry);

impl Metrics {
    /// A value that goes up and down. The name gets `standin_` before it.
    pub(super) fn gauge(&self, name: &str, help: &str, value: impl Value) {
        let gauge = Gauge::with_opts(opts(name, help)).expect(GOOD);
        gauge.set(value.value());
        self.register(gauge);
    }

    /// A value that only rises in the life of a process. The name gets `standin_` before it.
    pub(super) fn counter(&self, name: &str, help: &str, value: impl Value) {
        let counter = Counter::with_opts(opts(name, help)).expect(GOOD);
        counter.inc_by(value.value());
        self.register(counter);
    }

    /// A value for each of some labels. There is a line for each; without one, the metric is not there.
    pub(super) fn gauges<const N: usize, V: Value>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: impl IntoIterator<Item = ([String; N], V)>,
    ) {
        let gauges = GaugeVec::new(opts(name, help), &labels).expect(GOOD);
        for (labels, value) in values {
            gauges.with_label_values(&labels).set(value.value());
        }
        self.register(gauges);
    }

    /// 1 for what it is, and 0 for what else it could be.
    pub(super) fn choice(&self, name: &str, help: &str, label: &str, words: &[&str], is: &str) {
        let values = words.iter().map(|word| ([(*word).to_owned()], *word == is));
        self.gauges(name, help, [label], values);
    }

    fn register(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect(GOOD);
    }

    /// All of them.
    pub(super) fn response(&self) -> HttpResponse {
        let text = TextEncoder::new().encode_to_string(&self.0.gather());
        HttpResponse::of(200, CONTENT_TYPE, text.expect("there is memory"))
    }
}

const GOOD: &str = "names and labels are letters, and there is one of each";

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("standin_{name}"), help)
}

/// What can be the value of a metric.
pub(super) trait Value {
    /// As a metric has it.
    fn value(self) -> f64;
}

impl Value for bool {
    fn value(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Value for u32 {
    fn value(self) -> f64 {
        f64::from(self)
    }
}

impl Value for u64 {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    fn value(self) -> f64 {
        self as f64
    }
}

impl Value for f64 {
    fn value(self) -> f64 {
        self
    }
}
