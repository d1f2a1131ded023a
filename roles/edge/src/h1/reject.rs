//! Why a request is not taken as HTTP: one closed list, so that logs, metrics and answers agree.

use zizon_base::problem::Code;

macro_rules! rejects {
    ($($variant:ident = $code:ident, $reason:literal, $detail:literal;)*) => {
        /// A rule of framing that a request breaks. The connection is closed after the answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Reject { $(#[doc = $detail] #[error($detail)] $variant,)* }

        impl Reject {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, a metric label.
            #[must_use]
            pub const fn reason(self) -> &'static str { match self { $(Self::$variant => $reason,)* } }

            /// The problem the client is told.
            #[must_use]
            pub const fn code(self) -> Code { match self { $(Self::$variant => Code::$code,)* } }

            /// The sentence the client is told; it never repeats what the client sent.
            #[must_use]
            pub const fn detail(self) -> &'static str { match self { $(Self::$variant => $detail,)* } }
        }
    };
}

rejects! {
    RequestLine = BadRequest, "request-line", "the request line is not method, target and version with single spaces between (RFC 9112, 3)";
    Method = BadRequest, "method", "the method is not a token (RFC 9110, 9.1)";
    Version = HttpVersion, "version", "the version is not HTTP/1.1 or HTTP/1.0";
    BareLf = BadRequest, "bare-lf", "a line ends in LF without CR (RFC 9112, 2.2)";
    BareCr = BadRequest, "bare-cr", "CR stands without LF (RFC 9112, 2.2)";
    ObsFold = BadRequest, "obs-fold", "a field line is folded (RFC 9112, 5.2)";
    SpaceBeforeColon = BadRequest, "space-before-colon", "white space stands between a field name and its colon (RFC 9112, 5.1)";
    FieldName = BadRequest, "field-name", "a field name is not a token or has no colon (RFC 9112, 5)";
    FieldValue = BadRequest, "field-value", "a field value holds a control character (RFC 9110, 5.5)";
    FieldRepeated = BadRequest, "field-repeated", "a field that may stand once stands twice";
    HostMissing = BadRequest, "host-missing", "there is no Host (RFC 9112, 3.2)";
    HostRepeated = BadRequest, "host-repeated", "there is more than one Host (RFC 9112, 3.2)";
    HostInvalid = BadRequest, "host-invalid", "Host is not a name or address with an optional port";
    HostMismatch = BadRequest, "host-mismatch", "the target names one host and Host another (RFC 9112, 3.2.2)";
    Target = BadRequest, "target", "the request target has a form or a character that is not allowed here (RFC 9112, 3.2)";
    Fragment = BadRequest, "fragment", "the request target has a fragment (RFC 9112, 3.2)";
    Scheme = BadRequest, "scheme", "the scheme is not https (RFC 9113, 8.3.1)";
    PercentEncoding = BadRequest, "percent-encoding", "the path has a % without two hexadecimal digits (RFC 3986, 2.1)";
    PathAmbiguous = BadRequest, "path-ambiguous", "the path has a dot segment or an encoded slash, backslash or control character";
    Connect = BadRequest, "connect", "CONNECT is not served";
    Upgrade = BadRequest, "upgrade", "Upgrade is not served";
    ConnectionField = BadRequest, "connection-field", "Connection is not a list of tokens, or names a field that frames the message";
    LengthAndEncoding = BadRequest, "length-and-encoding", "Content-Length and Transfer-Encoding stand together (RFC 9112, 6.3)";
    ContentLength = BadRequest, "content-length", "Content-Length is not one plain decimal number (RFC 9110, 8.6)";
    ContentLengthRepeated = BadRequest, "content-length-repeated", "Content-Length stands twice (RFC 9112, 6.3)";
    TransferEncoding = BadRequest, "transfer-encoding", "Transfer-Encoding is not exactly chunked (RFC 9112, 6.1)";
    TransferEncodingVersion = BadRequest, "transfer-encoding-version", "HTTP/1.0 has no Transfer-Encoding (RFC 9112, 6.1)";
    Expect = ExpectationFailed, "expect", "only Expect: 100-continue is understood (RFC 9110, 10.1.1)";
    ChunkSize = BadRequest, "chunk-size", "a chunk size is not a plain hexadecimal number (RFC 9112, 7.1)";
    ChunkExtension = BadRequest, "chunk-extension", "a chunk extension is malformed or too long (RFC 9112, 7.1.1)";
    ChunkData = BadRequest, "chunk-data", "chunk data is not followed by CRLF (RFC 9112, 7.1)";
    Trailer = BadRequest, "trailer", "the trailer section is malformed or too long (RFC 9112, 7.1.2)";
    BodyTruncated = BadRequest, "body-truncated", "the body is shorter than it was said to be";
    TargetTooLong = UriTooLong, "target-too-long", "the request target is too long";
    HeadTooLarge = HeadersTooLarge, "head-too-large", "the request head has too many bytes or fields";
    BodyTooLarge = BodyTooLarge, "body-too-large", "the body is too large";
    HeadTimeout = RequestTimeout, "head-timeout", "the request head did not arrive in time";
    BodyTimeout = RequestTimeout, "body-timeout", "the body did not arrive in time";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reasons_are_unique_and_their_codes_are_client_errors_or_a_version() {
        let reasons: HashSet<_> = Reject::ALL.iter().map(|reject| reject.reason()).collect();
        assert_eq!(reasons.len(), Reject::ALL.len());
        for reject in Reject::ALL {
            let status = reject.code().status();
            assert!((400..500).contains(&status) || status == 505, "{}", reject.reason());
        }
    }
}
