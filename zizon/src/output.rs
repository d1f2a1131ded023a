//! What people see: tables that align, colour only on a terminal, errors with a way out.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::exit::Failure;

/// A style, applied only when the stream is a terminal and `NO_COLOR` is not set (no-color.org).
#[derive(Debug, Clone, Copy)]
pub enum Style {
    /// Good.
    Green,
    /// In between.
    Yellow,
    /// Bad.
    Red,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

/// Whether standard output takes colour.
pub fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// `text` in `style`, or plain where colour is not wanted.
pub fn paint(text: &str, style: Style) -> String {
    if colour() { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
}

/// `text` in `style` where standard error takes colour.
pub fn paint_error(text: &str, style: Style) -> String {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
}

/// Prints one line to standard error.
pub fn error_line(text: &str) {
    // Nothing can be done when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints one line to standard output; a closed pipe ends the output, not the program.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that has gone away (`| head`) is not an error of ours.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints what went wrong and what to do to standard error.
pub fn print_error(error: &anyhow::Error) {
    error_line(&format!("{} {error:#}", paint_error("error:", Style::Red)));
    if let Some(failure) = error.downcast_ref::<Failure>()
        && !failure.remedy.is_empty()
    {
        error_line(&format!("  help: {}", failure.remedy));
    }
}

/// Prints an error as the one JSON document a script expects.
pub fn json_error(error: &anyhow::Error) {
    let help = error.downcast_ref::<Failure>().map(|failure| failure.remedy.as_str()).filter(|help| !help.is_empty());
    line(&serde_json::json!({ "error": format!("{error:#}"), "help": help }).to_string());
}

/// How often a progress line changes.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// One line on a terminal that says what goes on; gone when dropped. Nothing where standard error is no terminal.
#[derive(Debug, Default)]
pub struct ProgressLine {
    shown: Option<Instant>,
}

impl ProgressLine {
    /// Shows `text` in place of what was shown before, unless that was a moment ago; no text clears the line.
    pub fn show(&mut self, text: &str) {
        if text.is_empty() {
            return self.clear();
        }
        let mut out = io::stderr().lock();
        if !out.is_terminal() || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS_EVERY) {
            return;
        }
        // Progress that cannot be shown is no reason to stop.
        let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
        self.shown = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            let mut out = io::stderr().lock();
            // As above.
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A size as people read it: `517 B`, `4.2 KB`, `64.0 MB`, in powers of ten.
pub fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 999.95 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A table with aligned columns.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<(String, Option<Style>)>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these headings; columns named in `right` align to the right.
    pub fn new(headings: &[&str], right: &[usize]) -> Self {
        let head = headings.iter().map(|heading| ((*heading).to_owned(), Some(Style::Dim))).collect();
        Self { rows: vec![head], right: right.to_vec() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<(String, Option<Style>)>) {
        self.rows.push(cells);
    }

    /// The lines of the table.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| display_width(text)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut text = String::new();
            for (column, (cell, style)) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column] - display_width(cell));
                let painted = style.map_or_else(|| cell.clone(), |style| paint(cell, style));
                if column > 0 {
                    text.push_str("  ");
                }
                if self.right.contains(&column) {
                    text.push_str(&padding);
                    text.push_str(&painted);
                } else {
                    text.push_str(&painted);
                    text.push_str(&padding);
                }
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out
    }
}

/// What a customer wrote, on one line and without anything a terminal would act on: control characters and those that turn the direction of
/// writing (UAX #9) become a middle dot.
pub fn plain(text: &str) -> String {
    let acts = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if acts(character) { '\u{b7}' } else { character }).collect()
}

/// A word for a shell: quoted where it has to be.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `text` with the digits of its first number in groups of three: `KRW 2,690,000`, `1,204.50`.
pub fn grouped(text: &str) -> String {
    let start = text.find(|character: char| character.is_ascii_digit()).unwrap_or(text.len());
    let (before, rest) = text.split_at(start);
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    let mut out = before.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + after
}

/// Columns a text takes on a terminal: East Asian wide characters take two (UAX #11, the blocks that occur in names).
fn display_width(text: &str) -> usize {
    text.chars()
        .map(|character| match character as u32 {
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xff00..=0xff60 => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_read_in_groups() {
        for (plain, shown) in [
            ("7", "7"),
            ("1000", "1,000"),
            ("KRW 2690000", "KRW 2,690,000"),
            ("USD -1204.50", "USD -1,204.50"),
            ("", ""),
        ] {
            assert_eq!(grouped(plain), shown);
        }
    }

    #[test]
    fn sizes_have_one_unit_and_one_decimal() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (999_949, "999.9 KB"),
            (999_950, "1.0 MB"),
            (67_108_864, "67.1 MB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn what_customers_write_cannot_act_on_the_terminal() {
        assert_eq!(plain("두 줄\n\u{1b}[31m\u{202e}fdp.exe"), "두 줄\u{b7}\u{b7}[31m\u{b7}fdp.exe");
    }

    #[test]
    fn a_command_can_be_pasted_whatever_the_paths_are() {
        for (word, shown) in [
            ("/srv/zizon", "/srv/zizon"),
            ("https://[::1]:8443", "'https://[::1]:8443'"),
            ("/my data", "'/my data'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn columns_align_whatever_the_script() {
        let mut table = Table::new(&["name", "units"], &[1]);
        table.row(vec![("크림".into(), None), ("7".into(), None)]);
        table.row(vec![("serum".into(), None), ("1200".into(), None)]);
        assert_eq!(table.render(), "name   units\n크림       7\nserum   1200\n");
    }
}
