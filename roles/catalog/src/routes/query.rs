//! The query of a listing.

use bytes::Bytes;
use http::StatusCode;
use zizon_base::ids::Sku;
use zizon_base::json::write_string;
use zizon_base::market::Market;
use zizon_base::problem::Problem;
use zizon_service::{Request, Response, json_bytes};

use super::bad_parameter;
use crate::cursor::{self, Listing};
use crate::shelf::{Filter, Shelf};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// A page as asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageQuery<'a> {
    listing: Listing<'a>,
    after: Option<Sku>,
    limit: usize,
}

impl<'a> PageQuery<'a> {
    pub(super) fn read(name: &'static str, request: &'a Request) -> Result<Self, Problem> {
        let limit = match request.query("limit").map(str::parse) {
            None => LIMIT_DEFAULT,
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
            Some(_) => return Err(bad_parameter("limit", format!("must be a number between 1 and {LIMIT_MAX}"))),
        };
        let market = match request.query("market") {
            None => None,
            Some(code) => Some(Market::from_code(code).ok_or_else(|| bad_parameter("market", "must be KR, JP or US"))?),
        };
        let category = request.query("category");
        let plain = |slug: &str| {
            (1..=64).contains(&slug.len())
                && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if category.is_some_and(|slug| !plain(slug)) {
            return Err(bad_parameter("category", "must be a category's slug, such as skincare"));
        }
        let listing = Listing { name, market, category };
        let after = match request.query("cursor") {
            None => None,
            Some(text) => {
                let again = || bad_parameter("cursor", "must be the `next_cursor` of a page of this same listing");
                Some(cursor::decode(listing, text).ok_or_else(again)?)
            }
        };
        Ok(Self { listing, after, limit })
    }

    /// The page from the shelf.
    pub(super) fn answer(&self, shelf: &Shelf, unpublished: bool) -> Response {
        let Listing { market, category, .. } = self.listing;
        let shown = shelf.page(Filter { market, category, unpublished }, self.after.as_ref(), self.limit);
        let size: usize = shown.bodies.iter().map(|body| body.len() + 1).sum();
        let mut page = Vec::with_capacity(size + 160);
        page.extend_from_slice(b"{\"data\":[");
        for (at, body) in shown.bodies.iter().enumerate() {
            if at > 0 {
                page.push(b',');
            }
            page.extend_from_slice(body);
        }
        page.extend_from_slice(b"],\"next_cursor\":");
        match &shown.next {
            Some(last) => write_string(&mut page, &cursor::encode(self.listing, last)),
            None => page.extend_from_slice(b"null"),
        }
        page.push(b'}');
        json_bytes(StatusCode::OK, Bytes::from(page))
    }
}
