//! Strict JSON in, plain JSON out.
//!
//! Two parsers that disagree about one document are a way past a check, so what other parsers are lenient about
//! (repeated members, trailing bytes, bottomless nesting) is refused here.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The deepest nesting a request may have.
pub const MAX_DEPTH: usize = 32;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (line {line}, column {column})")]
pub struct JsonError {
    /// What is wrong, without any content of the document beyond member names.
    pub reason: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let said = text.split(" at line ").next().unwrap_or_default();
        Self { reason: in_plain_words(said), line: error.line(), column: error.column() }
    }
}

/// The parser's message without the words of its own trade.
fn in_plain_words(said: &str) -> String {
    if let Some(place) = said.strip_prefix("EOF while parsing ") {
        return match place {
            "a value" => "the document ends where a value should be".to_owned(),
            place => format!("the document ends inside {place}"),
        };
    }
    // Which other type stood there is plain to see; what should stand there is not.
    if said.starts_with("invalid type: ") || said.starts_with("invalid value: ") || said.starts_with("invalid length ")
    {
        let expected = said.rsplit_once("expected ").map_or("another value", |(_, expected)| expected);
        return match expected {
            "i8" | "i16" | "i32" | "i64" | "isize" => "expected a whole number".to_owned(),
            "u8" | "u16" | "u32" | "u64" | "usize" => "expected a whole number that is not negative".to_owned(),
            "f32" | "f64" => "expected a number".to_owned(),
            "a map" => "expected an object".to_owned(),
            "a sequence" => "expected a list".to_owned(),
            other if other.starts_with("struct ") => "expected an object".to_owned(),
            other => format!("expected {other}"),
        };
    }
    if let Some(name) = said.strip_prefix("missing field ") {
        return format!("the member {name} is missing");
    }
    match said {
        "trailing characters" => "text after the document".to_owned(),
        "trailing comma" => "a comma with nothing after it".to_owned(),
        "expected value" => "expected a JSON value".to_owned(),
        "key must be a string" => "expected a member name in double quotes".to_owned(),
        "recursion limit exceeded" => format!("more than {MAX_DEPTH} levels"),
        "invalid unicode code point" | "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a text that is not valid Unicode".to_owned()
        }
        other if other.starts_with("control character") => {
            "a control character in a text that is not escaped".to_owned()
        }
        other => other.to_owned(),
    }
}

/// Reads `T` from a whole document: at most [`MAX_DEPTH`] levels, no member twice in any object, nothing after it.
///
/// # Errors
/// [`JsonError`] with the place.
pub fn strict_from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    check(bytes)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Checks a document without keeping anything of it.
///
/// # Errors
/// [`JsonError`] with the place.
pub fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(())
}

/// Consumes any value while checking depth and members. Usable as the seed for members a visitor does not know.
#[derive(Debug, Clone, Copy)]
pub struct Strict {
    /// Levels already entered.
    pub depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("more than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut members = Members::default();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if !members.insert(&name) {
                return Err(A::Error::custom("a member appears twice"));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// The member names an object has had so far. A handful is compared, more are hashed.
#[derive(Debug, Default)]
pub struct Members {
    few: Vec<String>,
    many: HashSet<String>,
}

impl Members {
    const FEW: usize = 12;

    /// Notes a name; false when it was there already.
    pub fn insert(&mut self, name: &str) -> bool {
        if self.few.iter().any(|known| known == name) || self.many.contains(name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name.to_owned());
        } else {
            self.many.insert(name.to_owned());
        }
        true
    }
}

/// Reads and drops any value; for members whose shape [`check`] has already seen.
pub type Skip = IgnoredAny;

/// Writes JSON by hand where a document is rendered for every request.
#[derive(Debug)]
pub struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    comma: bool,
}

impl<'a> JsonWriter<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// `{`, as an element of an array or the whole document.
    pub fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
    }

    /// `}`.
    pub fn end_object(&mut self) {
        self.out.push(b'}');
        self.comma = true;
    }

    /// `]`.
    pub fn end_array(&mut self) {
        self.out.push(b']');
        self.comma = true;
    }

    /// A member's name, which must need no escapes.
    pub fn name(&mut self, name: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.comma = false;
    }

    /// `"name":{`.
    pub fn object(&mut self, name: &'static str) {
        self.name(name);
        self.out.push(b'{');
    }

    /// `"name":[`.
    pub fn array(&mut self, name: &'static str) {
        self.name(name);
        self.out.push(b'[');
    }

    /// `"name":"value"`, escaped.
    pub fn string(&mut self, name: &'static str, value: &str) {
        self.name(name);
        write_string(self.out, value);
        self.comma = true;
    }

    /// `"name":value`.
    pub fn int(&mut self, name: &'static str, value: i64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.comma = true;
    }

    /// `"name":true|false`.
    pub fn bool(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        self.comma = true;
    }

    /// `"name":null`.
    pub fn null(&mut self, name: &'static str) {
        self.name(name);
        self.out.extend_from_slice(b"null");
        self.comma = true;
    }
}

/// Appends a JSON string with the escapes RFC 8259, section 7 requires.
pub fn write_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_member_twice_is_refused_at_any_level() {
        assert!(check(br#"{"a":1,"a":1}"#).is_err());
        assert!(check(br#"{"a":[{"b":1,"b":2}]}"#).is_err());
        assert!(check(br#"{"a":1,"\u0061":1}"#).is_err());
        let many: Vec<String> = (0..40).map(|n| format!("\"m{n}\":0")).collect();
        assert!(check(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        assert!(check(format!("{{{},\"m39\":0}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn thirty_two_levels_pass_and_thirty_three_do_not() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(nested(32).as_bytes()).is_ok());
        assert!(check(nested(33).as_bytes()).is_err());
        assert!(check(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn bytes_after_the_document_are_refused() {
        assert!(check(b"{} ").is_ok());
        assert!(check(b"{}x").is_err());
        assert!(check(b"").is_err());
    }

    #[test]
    fn mistakes_are_told_without_the_words_of_a_parser() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only read")]
        struct Stock {
            available: u32,
        }
        for (text, said) in [
            ("", "the document ends where a value should be (line 1, column 0)"),
            (r#"{"available""#, "the document ends inside an object (line 1, column 12)"),
            (r#"{"available":1}x"#, "text after the document (line 1, column 16)"),
            (r#"{"available":1,}"#, "a comma with nothing after it (line 1, column 16)"),
            (r#"{"available":1,"available":2}"#, "a member appears twice (line 1, column 26)"),
            ("[]", "expected an object (line 1, column 0)"),
            ("{}", "the member `available` is missing (line 1, column 2)"),
            (r#"{"available":-1}"#, "expected a whole number that is not negative (line 1, column 15)"),
            (r#"{"available":"x"}"#, "expected a whole number that is not negative (line 1, column 16)"),
        ] {
            let error = strict_from_slice::<Stock>(text.as_bytes()).unwrap_err().to_string();
            let words = |text: &str| text.split(" (").next().map(str::to_owned);
            assert_eq!(words(&error), words(said), "{text}");
            assert!(error.contains("(line 1, column "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_mistake_is_told_in_a_parsers_words(bytes in "[\\[\\]{}:,\"a1\\\\u \u{1}]{0,12}") {
            if let Err(error) = check(bytes.as_bytes()) {
                for word in ["EOF", "invalid type", "sequence", "trailing", "recursion", "surrogate"] {
                    prop_assert!(!error.to_string().contains(word), "{error}");
                }
            }
        }
    }

    #[test]
    fn an_object_is_written_with_its_commas() {
        let mut out = Vec::new();
        let mut writer = JsonWriter::new(&mut out);
        writer.begin_object();
        writer.string("a", "x\"y");
        writer.array("b");
        writer.begin_object();
        writer.int("c", -1);
        writer.end_object();
        writer.begin_object();
        writer.end_object();
        writer.end_array();
        writer.bool("d", true);
        writer.null("e");
        writer.end_object();
        assert_eq!(out, br#"{"a":"x\"y","b":[{"c":-1},{}],"d":true,"e":null}"#);
    }

    proptest! {
        #[test]
        fn strings_come_back_as_they_went(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), Value::String(text));
        }
    }
}
