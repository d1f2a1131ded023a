//! What a scrape sees, and that the catalogue tells the truth about it.

use std::collections::BTreeSet;

use zizon_telemetry::{
    COUNT_BUCKETS, HistogramSnapshot, LATENCY_SECONDS_BUCKETS, MAX_SERIES_PER_FAMILY, Metrics, Unit, aggregate,
    catalogue_markdown, register_process_metrics,
};

#[test]
fn a_counter_family_is_exported_with_its_labels() {
    let metrics = Metrics::new();
    let requests =
        metrics.counter_family("zizon_http_requests_total", "Requests answered", Unit::None, ["route", "method"]);
    requests.with(["/a", "GET"]).inc();
    requests.with(["/a", "GET"]).inc();
    let text = metrics.encode();
    assert!(text.contains("zizon_http_requests_total{route=\"/a\",method=\"GET\"} 2\n"), "{text}");
    assert!(text.contains("# TYPE zizon_http_requests_total counter\n"), "{text}");
    assert!(text.starts_with("# HELP zizon_http_requests_total Requests answered.\n"), "{text}");
}

#[test]
fn asking_twice_for_one_definition_shares_the_series() {
    let metrics = Metrics::new();
    metrics.counter("zizon_things_total", "Things", Unit::None).inc();
    metrics.counter("zizon_things_total", "Things", Unit::None).inc();
    assert!(metrics.encode().contains("zizon_things_total 2\n"));
    assert_eq!(metrics.catalogue().len(), 1);
}

#[test]
#[should_panic(expected = "defined twice")]
fn one_name_with_two_meanings_is_a_mistake() {
    let metrics = Metrics::new();
    metrics.gauge("zizon_depth", "Depth", Unit::None);
    metrics.gauge("zizon_depth", "Something else", Unit::None);
}

#[test]
#[should_panic(expected = "does not name its unit")]
fn a_name_must_end_in_its_unit() {
    Metrics::new().gauge("zizon_age", "Age", Unit::Seconds);
}

#[test]
fn label_values_beyond_the_bound_fold_into_other() {
    let metrics = Metrics::new();
    let family = metrics.counter_family("zizon_skus_total", "By sku", Unit::None, ["sku"]);
    for i in 0..MAX_SERIES_PER_FAMILY + 100 {
        family.with([&i.to_string()]).inc();
    }
    let text = metrics.encode();
    let series = text.lines().filter(|l| l.starts_with("zizon_skus_total{")).count();
    assert_eq!(series, MAX_SERIES_PER_FAMILY + 1);
    assert!(text.contains("zizon_skus_total{sku=\"other\"} 100\n"));
}

#[test]
fn a_label_value_cannot_break_out_of_its_quotes() {
    let metrics = Metrics::new();
    let family = metrics.counter_family("zizon_odd_total", "Odd", Unit::None, ["v"]);
    family.with(["a\"} 1\nb"]).inc();
    assert!(metrics.encode().contains("zizon_odd_total{v=\"a\\\"} 1\\nb\"} 1\n"));
}

#[test]
fn observed_metrics_are_read_at_each_scrape() {
    let metrics = Metrics::new();
    metrics.observe_gauge("zizon_left_seconds", "Left", Unit::Seconds, || 1.5);
    metrics.observe_counter("zizon_written_bytes_total", "Written", Unit::Bytes, || 7.0);
    let read = || vec![([String::from("a")], 2.0)];
    metrics.observe_gauge_family("zizon_stock", "Stock", Unit::None, ["sku"], read);
    let read = || vec![([String::from("ok")], 3.0)];
    metrics.observe_counter_family("zizon_seen_total", "Seen", Unit::None, ["result"], read);
    metrics.observe_histogram("zizon_sync_seconds", "Sync", Unit::Seconds, || HistogramSnapshot {
        buckets: vec![(0.1, 2), (f64::INFINITY, 1)],
        sum: 0.9,
    });
    let text = metrics.encode();
    for line in [
        "zizon_left_seconds 1.5\n",
        "zizon_written_bytes_total 7.0\n",
        "zizon_stock{sku=\"a\"} 2.0\n",
        "zizon_seen_total{result=\"ok\"} 3.0\n",
        "zizon_sync_seconds_bucket{le=\"0.1\"} 2\n",
        "zizon_sync_seconds_bucket{le=\"+Inf\"} 3\n",
        "zizon_sync_seconds_count 3\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn the_catalogue_names_exactly_what_is_exported() {
    let metrics = Metrics::new();
    register_process_metrics(&metrics);
    metrics.counter("zizon_a_total", "A", Unit::None).inc();
    metrics.histogram("zizon_b_seconds", "B", Unit::Seconds, LATENCY_SECONDS_BUCKETS).observe(0.1);
    metrics.histogram("zizon_c", "C", Unit::None, COUNT_BUCKETS).observe(3.0);
    let exported: BTreeSet<String> = metrics
        .encode()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    let listed: BTreeSet<String> = metrics.catalogue().into_iter().map(|info| info.name.to_owned()).collect();
    assert_eq!(exported, listed);
    let table = catalogue_markdown(&metrics.catalogue());
    assert!(table.contains("| `process_cpu_seconds_total` | counter | seconds |  |"), "{table}");
}

#[test]
fn process_metrics_are_plausible() {
    let metrics = Metrics::new();
    register_process_metrics(&metrics);
    let text = metrics.encode();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(name)).expect("exported");
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    };
    assert!(value("process_resident_memory_bytes ") > 100_000.0);
    assert!(value("process_open_fds ") >= 3.0);
    assert!(value("process_start_time_seconds ") > 1.6e9);
}

#[test]
fn an_aggregate_keeps_families_together_and_adds_the_label() {
    let part = |n: u64| {
        let metrics = Metrics::new();
        metrics.counter("zizon_a_total", "A", Unit::None).inc_by(n);
        metrics.gauge_family("zizon_b", "B", Unit::None, ["k"]).with(["v"]).set(4);
        metrics.encode()
    };
    let joined = aggregate("role", &[("orders", &part(1)), ("edge", &part(2))]);
    let expected = "# HELP zizon_a_total A.\n# TYPE zizon_a_total counter\n\
        zizon_a_total{role=\"orders\"} 1\nzizon_a_total{role=\"edge\"} 2\n\
        # HELP zizon_b B.\n# TYPE zizon_b gauge\n\
        zizon_b{role=\"orders\",k=\"v\"} 4\nzizon_b{role=\"edge\",k=\"v\"} 4\n";
    assert_eq!(joined, expected);
}
