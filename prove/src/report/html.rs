//! One page of HTML that needs nothing else: no script, no font, no address is loaded.

use std::fmt::Write as _;

use super::{Report, svg, text};
use crate::control::Outcome;
use crate::proof::{Check, Part, Proof, Verdict};
use crate::timeline::Timeline;

const STYLE: &str = include_str!("style.css");

pub(super) fn render(report: &Report) -> String {
    let (word, _) = text::word(report.verdict, report.proofs.is_empty());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Zizon: {word}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    let _ = write!(
        page,
        "<header class=\"{}\">\n<h1>{}</h1>\n<p>{}</p>\n</header>\n",
        tone(report.verdict),
        capital(word),
        escape(&report.summary())
    );
    report.proofs.iter().for_each(|proof| page.push_str(&self::proof(proof)));
    if !report.controls.is_empty() {
        page.push_str(&controls(&report.controls));
    }
    page.push_str(&footer(report));
    page + "</main>\n</body>\n</html>\n"
}

fn proof(proof: &Proof) -> String {
    let (word, _) = text::word(proof.verdict, false);
    let mut html = format!(
        "<section>\n<h2><span class=\"badge {}\">{word}</span> {}</h2>\n<p class=\"claim\">{}</p>\n<p class=\"quiet\">{}</p>\n",
        tone(proof.verdict),
        capital(proof.name),
        escape(&proof.claim),
        escape(&proof.method)
    );
    html.push_str("<table class=\"checks\">\n");
    if let [only] = proof.parts.as_slice() {
        only.checks.iter().for_each(|check| html.push_str(&row(check.holds, &check.claim, &check.seen)));
    } else {
        proof.parts.iter().for_each(|part| html.push_str(&self::part(part)));
    }
    html.push_str("</table>\n");
    if let Some(timeline) = proof.timeline.as_ref().filter(|timeline| !timeline.orders_per_second.is_empty()) {
        html.push_str(&pictures(timeline));
    }
    html.push_str("<dl>\n");
    for fact in &proof.facts {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(&fact.name), escape(&fact.value));
    }
    for gap in &proof.not_shown {
        let _ = writeln!(html, "<dt>not shown</dt><dd>{}</dd>", escape(gap));
    }
    html + "</dl>\n</section>\n"
}

/// A part in one row; what does not hold is spelled out.
fn part(part: &Part) -> String {
    let all = part.checks.len();
    let held = part.checks.iter().filter(|check| check.holds).count();
    let mut seen = format!("<span class=\"count\">{held} of {all}</span>{}", escape(&text::part_seen(part)));
    if !part.note.is_empty() {
        let _ = write!(seen, "<span class=\"note\">{}</span>", escape(&part.note));
    }
    let failed = part.checks.iter().filter(|check| !check.holds);
    let rows: String = failed.map(|Check { claim, seen, .. }| row(false, claim, seen)).collect();
    cells(held == all, &part.title, &seen) + &rows
}

fn row(holds: bool, claim: &str, seen: &str) -> String {
    cells(holds, claim, &escape(seen))
}

/// `seen` is markup.
fn cells(holds: bool, claim: &str, seen: &str) -> String {
    let (class, mark) = if holds { ("good", "\u{2713}") } else { ("bad", "\u{2717}") };
    let word = if holds { "holds" } else { "does not hold" };
    format!(
        "<tr><td class=\"mark {class}\" title=\"{word}\">{mark}</td><td>{}</td><td class=\"seen\">{seen}</td></tr>\n",
        escape(claim)
    )
}

fn pictures(timeline: &Timeline) -> String {
    format!(
        "<div class=\"pictures\">\n<figure><figcaption>Orders acknowledged per second; marks are kills</figcaption>{}</figure>\n\
         <figure><figcaption>Orders by ms from send to answer; bars are logarithmic</figcaption>{}</figure>\n</div>\n",
        svg::rate(timeline),
        svg::latency(&timeline.latency)
    )
}

fn controls(outcomes: &[Outcome]) -> String {
    let rows: String = outcomes.iter().map(|outcome| row(outcome.caught, &outcome.name, &outcome.said)).collect();
    format!(
        "<section>\n<h2>Negative controls</h2>\n<p class=\"quiet\">Each defect was made on purpose; \u{2713} means that the check it is meant for noticed it.</p>\n\
         <table class=\"checks\">\n{rows}</table>\n</section>\n"
    )
}

fn footer(report: &Report) -> String {
    let mut html = String::from("<footer>\n<dl>\n");
    let facts = [
        ("version", report.version.clone()),
        ("machine", report.machine.line()),
        ("ended", report.at.clone()),
        ("seed", report.seed.to_string()),
    ];
    for (name, value) in facts {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let _ = writeln!(html, "<dt>repeat</dt><dd><code>{}</code></dd>", escape(&report.command));
    html + "</dl>\n</footer>\n"
}

const fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proven => "good",
        Verdict::Refuted => "bad",
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a platform or a user wrote, as text: it can become neither an element nor an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Fact;
    use crate::report::Machine;
    use crate::timeline::{KillMark, LatencyClass};

    fn report(holds: bool) -> Report {
        let checks =
            vec![Check { claim: "none is lost".into(), holds, seen: "<script>alert(1)</script> & \"quotes\"".into() }];
        let timeline = Timeline {
            bucket_ms: 100,
            orders_per_second: vec![10.0, 0.0, 20.0],
            kills: vec![KillMark { role: "orders".into(), at_s: 0.1, silent_ms: 100, overlaps: false }],
            latency: vec![LatencyClass { below_ms: Some(1), orders: 3 }, LatencyClass { below_ms: None, orders: 0 }],
        };
        let proof = Proof {
            name: "durability",
            claim: "claim".into(),
            method: "method".into(),
            verdict: Verdict::of(&checks),
            parts: vec![Part { title: "part".into(), checks, note: String::new() }],
            facts: vec![Fact { name: "orders".into(), value: "3".into() }],
            not_shown: vec!["a power failure".into()],
            seconds: 1.0,
            timeline: Some(timeline),
        };
        let machine = Machine {
            cpus: 2,
            cpu: "cpu".into(),
            kernel: "Linux 6".into(),
            memory_mb: 1024,
            file_system: "ext4".into(),
        };
        let mut report = Report::of_proofs("zizon 0.1.0", 7, "zizon prove durability --seed 7".into(), vec![proof]);
        report.machine = machine;
        report
    }

    #[test]
    fn a_page_loads_nothing_and_lets_nothing_become_markup() {
        let page = report(true).html();
        for outside in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;"));
        assert!(page.contains("class=\"kill\"") && page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_verdict_stands_on_top_and_follows_from_the_checks() {
        for (holds, word) in [(true, "Proven"), (false, "Refuted")] {
            let page = report(holds).html();
            assert!(page.contains(&format!("<h1>{word}</h1>")), "{page}");
            assert!(page.contains("--seed 7") && page.contains("a power failure"));
        }
    }
}
