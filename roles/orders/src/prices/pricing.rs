//! What an order costs, from the shop's own prices. Pure.

use zizon_base::money::Money;
use zizon_base::problem::{Code, FieldError, Problem};

use super::view::{PriceView, ProductView};
use crate::order::document::Line;
use crate::request::OrderRequest;

/// Prices every line. The caller's prices are compared, never used.
///
/// # Errors
/// The problem to answer with: unknown or unavailable products, then changed prices, then a changed total.
pub fn price(request: &OrderRequest, view: &PriceView) -> Result<Vec<Line>, Box<Problem>> {
    let products = find(request, view)?;
    let currency = request.market.currency();
    let rate = request.market.included_tax_basis_points();
    let mut lines = Vec::with_capacity(request.lines.len());
    let mut changed = Vec::new();
    let mut total = Money::zero(currency);
    for (at, (wanted, (product, unit_price))) in request.lines.iter().zip(&products).enumerate() {
        if let Some(seen) = wanted.price.filter(|seen| seen != unit_price) {
            let place = FieldError::new(format!("#/items/{at}/price"), "price-changed");
            changed.push(place.differs(*unit_price, seen));
        }
        let unit = Money::new(*unit_price, currency).map_err(|_| too_much())?;
        let subtotal = unit.checked_mul(wanted.quantity).map_err(|_| too_much())?;
        total = total.checked_add(subtotal).map_err(|_| too_much())?;
        lines.push(Line {
            sku: wanted.sku.clone(),
            name: product.name(request.market).into(),
            quantity: wanted.quantity,
            unit_price: *unit_price,
            subtotal: subtotal.amount(),
            tax: subtotal.included_tax(rate).amount(),
        });
    }
    if !changed.is_empty() {
        let detail = match &*changed {
            [_] => "one price is not the shop's at present: `errors` has both; nothing was reserved".to_owned(),
            all => {
                format!("{} prices are not the shop's at present: `errors` has them; nothing was reserved", all.len())
            }
        };
        return Err(Box::new(Problem::new(Code::PriceChanged).detail(detail).fields(changed)));
    }
    if let Some(expected) = request.expected_total.filter(|&expected| expected != total.amount()) {
        let place = FieldError::new("#/expected_total", "total-changed").differs(total.amount(), expected);
        let detail = format!("these lines cost {total}, not what `expected_total` says; nothing was reserved");
        let problem = Problem::new(Code::TotalChanged).detail(detail);
        return Err(Box::new(problem.field(place).with("total", total.amount())));
    }
    Ok(lines)
}

type Found = (std::sync::Arc<ProductView>, i64);

fn find(request: &OrderRequest, view: &PriceView) -> Result<Vec<Found>, Box<Problem>> {
    let mut found = Vec::with_capacity(request.lines.len());
    let (mut unknown, mut unavailable) = (Vec::new(), Vec::new());
    for (at, line) in request.lines.iter().enumerate() {
        match view.get(&line.sku) {
            None => unknown.push(at),
            Some(product) => match product.price(request.market) {
                None => unavailable.push(at),
                Some(price) => found.push((product, price)),
            },
        }
    }
    if !unknown.is_empty() {
        return Err(refused(Code::UnknownProduct, request, unknown, "is not in the catalog"));
    }
    if !unavailable.is_empty() {
        let why = format!("is not for sale in market {}", request.market.code());
        return Err(refused(Code::ProductUnavailable, request, unavailable, &why));
    }
    Ok(found)
}

/// The lines at fault, the first of them in words.
fn refused(code: Code, request: &OrderRequest, lines: Vec<usize>, why: &str) -> Box<Problem> {
    let mut problem = Problem::new(code);
    if let Some(&first) = lines.first() {
        problem =
            problem.detail(format!("{} (line {}) {why}; nothing was reserved", request.lines[first].sku, first + 1));
    }
    let places = lines.into_iter().map(|at| FieldError::new(format!("#/items/{at}/product_id"), code.slug()));
    Box::new(problem.fields(places))
}

fn too_much() -> Box<Problem> {
    Box::new(Problem::new(Code::AmountOutOfRange).field(FieldError::new("#/items", "amount-out-of-range")))
}
