//! The one form in which a path is judged: percent-decoded once, with nothing left in it that a server behind could read differently.

use std::borrow::Cow;

/// Longer paths are refused.
const LENGTH_MAX: usize = 2048;

/// Why a path is not judged but refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// More than 2,048 bytes.
    #[error("the path is longer than 2048 bytes")]
    TooLong,
    /// A percent sign without two hexadecimal digits, or an encoded percent sign (decoding twice would give another path).
    #[error("the path has a malformed or doubled escape")]
    Escape,
    /// `%2f`, `%5c` or a backslash.
    #[error("the path has an encoded slash or a backslash")]
    Separator,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// NUL, control characters, space, `?`, `#`, `;` or anything outside ASCII, encoded or not.
    #[error("the path has a character that no route has")]
    Character,
}

/// Decodes `path` (without query) and refuses what is ambiguous. Routers should use the result, so that what was judged is what is served.
///
/// # Errors
/// [`PathError`] naming the ambiguity.
pub fn normalise_path(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.len() > LENGTH_MAX {
        return Err(PathError::TooLong);
    }
    let decoded = if path.contains('%') { Cow::Owned(decode(path.as_bytes())?) } else { Cow::Borrowed(path) };
    check_characters(&decoded)?;
    check_segments(&decoded)?;
    Ok(decoded)
}

fn decode(path: &[u8]) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let (value, next) = if byte == b'%' { (escaped(tail)?, &tail[2..]) } else { (byte, tail) };
        if !value.is_ascii() {
            return Err(PathError::Character);
        }
        decoded.push(char::from(value));
        rest = next;
    }
    Ok(decoded)
}

/// The value of the two digits at the start of `digits`.
fn escaped(digits: &[u8]) -> Result<u8, PathError> {
    let digit =
        |index: usize| digits.get(index).and_then(|&byte| char::from(byte).to_digit(16)).ok_or(PathError::Escape);
    let value = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| PathError::Escape)?;
    match value {
        b'/' | b'\\' => Err(PathError::Separator),
        b'%' => Err(PathError::Escape),
        other => Ok(other),
    }
}

fn check_characters(path: &str) -> Result<(), PathError> {
    for byte in path.bytes() {
        match byte {
            b'\\' => return Err(PathError::Separator),
            b'?' | b'#' | b';' => return Err(PathError::Character),
            0x21..=0x7e => {}
            _ => return Err(PathError::Character),
        }
    }
    Ok(())
}

fn check_segments(path: &str) -> Result<(), PathError> {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(PathError::DotSegment),
            // A single trailing slash is a path of its own.
            "" if segments.peek().is_some() => return Err(PathError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clean_paths_are_borrowed_as_they_are() {
        for path in ["/", "/readyz", "/api/v1/orders/ord_abc-1.2~", "/a/"] {
            assert!(matches!(normalise_path(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn escapes_of_plain_characters_are_decoded() {
        assert_eq!(normalise_path("/%69nternal/%76%31").unwrap(), "/internal/v1");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        use PathError::*;
        for (path, error) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("readyz", NotAbsolute),
            ("http://a/b", NotAbsolute),
            ("/a%2fb", Separator),
            ("/a%2Fb", Separator),
            ("/a\\b", Separator),
            ("/a%5cb", Separator),
            ("//a", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/.", DotSegment),
            ("/a/../internal", DotSegment),
            ("/a/..", DotSegment),
            ("/a/%2e%2e/b", DotSegment),
            ("/a/.%2E/b", DotSegment),
            ("/a%00b", Character),
            ("/a\0b", Character),
            ("/a%0d%0ab", Character),
            ("/a b", Character),
            ("/a%20b", Character),
            ("/a?b", Character),
            ("/a%3fb", Character),
            ("/a#b", Character),
            ("/internal;x=1/v1", Character),
            ("/a%3bb", Character),
            ("/\u{ff0e}\u{ff0e}/a", Character),
            ("/a%c3%a9", Character),
            ("/%c0%ae%c0%ae/a", Character),
            ("/a%252fb", Escape),
            ("/a%", Escape),
            ("/a%2", Escape),
            ("/a%zz", Escape),
            ("/a%+1", Escape),
        ] {
            assert_eq!(normalise_path(path), Err(error), "{path:?}");
        }
        assert_eq!(normalise_path(&format!("/{}", "a".repeat(LENGTH_MAX))), Err(TooLong));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/[ -~%]{0,40}") {
            if let Ok(once) = normalise_path(&path) {
                prop_assert_eq!(normalise_path(&once).unwrap(), once.clone());
                prop_assert!(!once.contains("//") && !once.contains('%') && !once.split('/').any(|s| s == ".."));
            }
        }
    }
}
