//! The languages people are answered in.

/// A language of the shop's people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English, also for whoever asks for none of these.
    #[default]
    English,
    /// Korean.
    Korean,
    /// Japanese.
    Japanese,
}

/// Ranges looked at of an `Accept-Language`; people send fewer than ten.
const RANGES_MAX: usize = 16;

impl Language {
    /// The language an `Accept-Language` prefers (RFC 9110, 12.5.4; lookup by primary subtag, RFC 4647, 3.4).
    #[must_use]
    pub fn of_accept(value: &str) -> Self {
        let mut best = (0, Self::English);
        for range in value.split(',').take(RANGES_MAX) {
            let (tag, weight) = range.split_once(';').map_or((range, Some(1000)), |(tag, q)| (tag, thousandths(q)));
            if let (Some(language), Some(weight)) = (Self::of_tag(tag.trim()), weight)
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }

    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        let is = |name: &str| primary.eq_ignore_ascii_case(name);
        match () {
            () if is("ko") => Some(Self::Korean),
            () if is("ja") => Some(Self::Japanese),
            () if is("en") || tag == "*" => Some(Self::English),
            () => None,
        }
    }

    /// Its tag (RFC 5646).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
            Self::Japanese => "ja",
        }
    }
}

/// A weight `q=0.8` in thousandths; `None` for anything else.
fn thousandths(parameter: &str) -> Option<u16> {
    let value = parameter.trim().strip_prefix("q=").or_else(|| parameter.trim().strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" => Some(1000),
        "0" => format!("{fraction:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_is_the_one_with_the_highest_weight() {
        let cases = [
            ("ko-KR,ko;q=0.9,en-US;q=0.8", Language::Korean),
            ("ja", Language::Japanese),
            ("fr, ja;q=0.3, ko;q=0.7", Language::Korean),
            ("en;q=0.5, JA;q=0.5", Language::English),
            ("ko;q=0, ja;q=0.001", Language::Japanese),
            ("*, ko;q=0.5", Language::English),
            ("de, fr", Language::English),
            ("", Language::English),
            ("ko;q=2, ko;q=abc, ko;level=1", Language::English),
        ];
        for (accept, language) in cases {
            assert_eq!(Language::of_accept(accept), language, "{accept}");
        }
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        let long = "xx,".repeat(RANGES_MAX) + "ko";
        assert_eq!(Language::of_accept(&long), Language::English);
    }
}
