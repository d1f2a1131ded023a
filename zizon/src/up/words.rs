//! What a role says of itself in its log while the supervisor cannot ask it: how far its start is, and why it ended.

use serde::Deserialize;

/// Message of the line a role that fails writes last; its `error` and `remedy` say why and what to do.
pub const FAILED: &str = "the role has failed";
/// The longest text kept of either.
const MAX_CHARS: usize = 600;

/// Something the supervisor passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// What a start is doing, with how far it is.
    Starting(String),
    /// Why the role ended, with the way out.
    Failed(String),
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    message: String,
    starting: Option<String>,
    error: Option<String>,
    remedy: Option<String>,
}

/// Reads a line of a role's log, if it is one of those.
pub fn heard(line: &[u8]) -> Option<Word> {
    let line = str::from_utf8(line).ok()?;
    // Most lines are neither, and are not worth parsing.
    if !line.contains("\"starting\":") && !line.contains(FAILED) {
        return None;
    }
    let line: Line = serde_json::from_str(line).ok()?;
    if let Some(doing) = line.starting {
        return Some(Word::Starting(bounded(&doing)));
    }
    if line.message != FAILED {
        return None;
    }
    let error = line.error.unwrap_or_default();
    let remedy =
        line.remedy.filter(|remedy| !remedy.is_empty()).map_or_else(String::new, |remedy| format!("; {remedy}"));
    Some(Word::Failed(bounded(&format!("{error}{remedy}"))))
}

/// One line of bounded length, without anything a terminal would act on.
fn bounded(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_end_comes_with_the_way_out() {
        let line =
            br#"{"level":"ERROR","message":"the role has failed","error":"ids.key is missing","remedy":"restore it"}"#;
        assert_eq!(heard(line), Some(Word::Failed("ids.key is missing; restore it".into())));
    }

    #[test]
    fn a_start_says_how_far_it_is() {
        let line = br#"{"level":"INFO","message":"opening the table","starting":"rebuilding the index, 43 %"}"#;
        assert_eq!(heard(line), Some(Word::Starting("rebuilding the index, 43 %".into())));
    }

    #[test]
    fn other_lines_say_nothing_and_a_role_cannot_write_to_the_terminal() {
        assert_eq!(heard(br#"{"level":"INFO","message":"an order was cancelled"}"#), None);
        assert_eq!(heard(br#"the role has failed, without JSON"#), None);
        let line = br#"{"message":"the role has failed","error":"a\u001b[31mb\nc"}"#;
        assert_eq!(heard(line), Some(Word::Failed("a [31mb c".into())));
    }
}
