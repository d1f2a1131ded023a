//! Classes of characters (RFC 9110, 5.6.2; RFC 3986, 3.3) as tables, and small byte helpers.

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const HOST: u8 = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index: usize = 0;
    while index < 256 {
        let byte = index.to_le_bytes()[0];
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || contains(b"!#$%&'*+-.^_`|~", byte) {
            table[index] |= TOKEN;
        }
        if alphanumeric || contains(b"-._~!$&'()*+,;=:@/%", byte) {
            table[index] |= PATH;
        }
        // What the URL standard lets a browser send in a query, which is more than RFC 3986 names.
        if byte.is_ascii_graphic() && !contains(b"\"#<>", byte) {
            table[index] |= QUERY;
        }
        if alphanumeric || contains(b"-._", byte) {
            table[index] |= HOST;
        }
        index += 1;
    }
    table
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |seen, &byte| seen & CLASSES[usize::from(byte)]) == class
}

/// `1*tchar`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Only characters of a path, `%` included.
pub(crate) fn is_path_text(bytes: &[u8]) -> bool {
    all(bytes, PATH)
}

/// Only characters a query may hold.
pub(crate) fn is_query_text(bytes: &[u8]) -> bool {
    all(bytes, QUERY)
}

/// Only characters of a registered name or an IPv4 address.
pub(crate) fn is_host_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, HOST)
}

/// `field-content`, which may be empty: visible characters, obs-text, space and tab.
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    let bad = bytes.iter().fold(false, |bad, &byte| bad | ((byte < b' ' && byte != b'\t') | (byte == 0x7f)));
    !bad
}

/// Without optional white space (`SP`, `HTAB`) at both ends.
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma list, trimmed; empty ones are kept, so that the caller can refuse them.
pub(crate) fn list(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b',').map(trim_ows)
}
