//! The rules of request targets and hosts, the same for HTTP/1.1 and HTTP/2.

use super::reject::Reject;
use super::token::{is_host_text, is_path_text, is_query_text};

/// A request target in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host of an absolute-form target.
    pub authority: Option<&'a [u8]>,
    /// The path, or `*` of an asterisk-form target; empty in an absolute-form target that has none, which means the
    /// root (RFC 9110, 4.2.3).
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a [u8]>,
}

/// Takes a request target apart (RFC 9112, 3.2): origin-form, absolute-form of http and https, and `*` for OPTIONS.
///
/// # Errors
/// [`Reject`] for every other form and for a character or an encoding that two readers could read differently.
pub fn parse_target<'a>(target: &'a [u8], method: &[u8]) -> Result<Target<'a>, Reject> {
    if method == b"CONNECT" {
        return Err(Reject::Connect);
    }
    if target == b"*" {
        let allowed = method == b"OPTIONS";
        return if allowed { Ok(Target { authority: None, path: target, query: None }) } else { Err(Reject::Target) };
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(Reject::Fragment);
    }
    let (authority, rest) = match target.first() {
        Some(b'/') => (None, target),
        _ => absolute(target)?,
    };
    let (path, query) = match memchr::memchr(b'?', rest) {
        Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
        None => (rest, None),
    };
    check_path(path)?;
    if query.is_some_and(|query| !is_query_text(query)) {
        return Err(Reject::Target);
    }
    Ok(Target { authority, path, query })
}

fn absolute(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Reject> {
    let scheme = [b"https://".as_slice(), b"http://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .ok_or(Reject::Target)?;
    let rest = &target[scheme.len()..];
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority = &rest[..end];
    check_host(authority).map_err(|_| Reject::Target)?;
    Ok((Some(authority), &rest[end..]))
}

/// Refuses a path with characters outside RFC 3986, bad percent-encoding, dot segments, or an encoded character that
/// changes the shape of the path for a reader that decodes it.
fn check_path(path: &[u8]) -> Result<(), Reject> {
    if !is_path_text(path) {
        return Err(Reject::Target);
    }
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let decoded = rest.get(at + 1..at + 3).and_then(decode_hex).ok_or(Reject::PercentEncoding)?;
        if decoded < b' ' || matches!(decoded, 0x7f | b'/' | b'\\') {
            return Err(Reject::PathAmbiguous);
        }
        rest = &rest[at + 3..];
    }
    if path.split(|&byte| byte == b'/').any(is_dot_segment) {
        return Err(Reject::PathAmbiguous);
    }
    Ok(())
}

fn decode_hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}

/// `.` or `..`, each dot plain or encoded.
fn is_dot_segment(mut segment: &[u8]) -> bool {
    let mut dots = 0;
    while !segment.is_empty() {
        segment = match segment {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// Refuses what is not `host [":" port]` with a name, an IPv4 address or a bracketed IPv6 address.
///
/// # Errors
/// [`Reject::HostInvalid`].
pub fn check_host(host: &[u8]) -> Result<(), Reject> {
    let (name, port) = split_port(host).ok_or(Reject::HostInvalid)?;
    let name_is_valid = match name {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        name => name.len() <= 255 && is_host_text(name),
    };
    let port_is_valid = port.is_none_or(|port| {
        (1..=5).contains(&port.len())
            && port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|text| text.parse::<u16>().is_ok())
    });
    if name_is_valid && port_is_valid { Ok(()) } else { Err(Reject::HostInvalid) }
}

fn split_port(host: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let name_end = if host.first() == Some(&b'[') { memchr::memchr(b']', host)? + 1 } else { 0 };
    match memchr::memchr(b':', &host[name_end..]) {
        Some(colon) => {
            let colon = name_end + colon;
            Some((&host[..colon], Some(&host[colon + 1..])))
        }
        None => Some((host, None)),
    }
}

/// Whether two valid hosts are the same place: names without regard to case, a missing port meaning 443.
#[must_use]
pub fn same_host(left: &[u8], right: &[u8]) -> bool {
    let parts = |host| split_port(host).map(|(name, port): (&[u8], _)| (name, port.unwrap_or(b"443")));
    match (parts(left), parts(right)) {
        (Some(left), Some(right)) => left.0.eq_ignore_ascii_case(right.0) && left.1 == right.1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str) -> Result<Target<'_>, Reject> {
        parse_target(target.as_bytes(), b"GET")
    }

    #[test]
    fn origin_form_comes_apart_at_the_first_question_mark() {
        let target = parse("/a/b?c=d?e").unwrap();
        assert_eq!((target.path, target.query), (b"/a/b".as_slice(), Some(b"c=d?e".as_slice())));
    }

    #[test]
    fn absolute_form_may_have_no_path() {
        let target = parse("HTTPS://shop.example?x").unwrap();
        assert_eq!(target.authority, Some(b"shop.example".as_slice()));
        assert_eq!((target.path, target.query), (b"".as_slice(), Some(b"x".as_slice())));
    }

    #[test]
    fn every_form_that_could_be_read_in_two_ways_is_refused_by_its_name() {
        for (target, reject) in [
            ("", Reject::Target),
            ("a", Reject::Target),
            ("*", Reject::Target),
            ("ftp://a/", Reject::Target),
            ("http://", Reject::Target),
            ("http://user@a/", Reject::Target),
            ("//[/x", Reject::Target),
            ("/a b", Reject::Target),
            ("/a\\b", Reject::Target),
            ("/a?\"", Reject::Target),
            ("/\u{e9}", Reject::Target),
            ("/a#b", Reject::Fragment),
            ("/a?b#", Reject::Fragment),
            ("/%", Reject::PercentEncoding),
            ("/%4", Reject::PercentEncoding),
            ("/%zz", Reject::PercentEncoding),
            ("/a%00", Reject::PathAmbiguous),
            ("/a%2Fb", Reject::PathAmbiguous),
            ("/a%5cb", Reject::PathAmbiguous),
            ("/a/../b", Reject::PathAmbiguous),
            ("/./b", Reject::PathAmbiguous),
            ("/a/%2e%2E", Reject::PathAmbiguous),
            ("/a/.%2e/b", Reject::PathAmbiguous),
        ] {
            assert_eq!(parse(target), Err(reject), "{target}");
        }
        assert_eq!(parse_target(b"a:443", b"CONNECT"), Err(Reject::Connect));
        assert!(parse_target(b"*", b"OPTIONS").is_ok());
        assert!(parse("/...").is_ok());
    }

    #[test]
    fn hosts_are_names_addresses_and_ports() {
        for good in ["a", "api.cloudwave10.shop", "127.0.0.1:8443", "[::1]", "[2001:db8::1]:443", "a_b.c:1"] {
            assert!(check_host(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in
            ["", ":80", "a:", "a:x", "a:99999", "a:+1", "a b", "a/b", "u@a", "[::1", "[x]", "[::1]a", "a,b", "::1"]
        {
            assert!(check_host(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_port_and_case_make_no_difference_between_hosts() {
        assert!(same_host(b"Shop.Example", b"shop.example:443"));
        assert!(!same_host(b"shop.example:80", b"shop.example"));
        assert!(!same_host(b"a", b"b"));
    }
}
