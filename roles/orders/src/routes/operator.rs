//! What operators see and do.

use std::sync::Arc;

use zizon_base::ids::{OrderId, Sku, UserHash, UserRef};
use zizon_base::json::strict_from_slice;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::orders::{OperatorOrder, OrderBody, OrderFact, OrderPage, SetStock, ShardStock, StockView};
use zizon_service::{Request, Response};
use zizon_table::{Cursor, Seq, ShardId, SkRange};

use super::answer;
use crate::execute::LoadedOrder;
use crate::execute::load::load;
use crate::keys::{self, Named};
use crate::order::fact::Actor;
use crate::order::render::render;
use crate::order::state::Event;
use crate::service::{GUEST_SCOPE, OrdersService};
use crate::stock::operator::StockError;
use crate::stock::shard;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;
/// Positions of the feed looked through for one page of recent orders.
const WINDOW: u64 = 512;
const MAX_WINDOWS: usize = 16;

type Answered<T> = Result<T, Box<Problem>>;

pub(super) async fn show_stock(service: Arc<OrdersService>, request: Request) -> Response {
    let shown = async { view(&service, &sku_of(&request)?).await };
    answer(shown.await, &request)
}

pub(super) async fn set_stock(service: Arc<OrdersService>, request: Request) -> Response {
    let set = async {
        let sku = sku_of(&request)?;
        let body: SetStock = strict_from_slice(&request.body).map_err(|e| unreadable(&e))?;
        service.stock.set(&sku, body.available).await.map_err(|e| stock_problem(&service, e))?;
        view(&service, &sku).await
    };
    answer(set.await, &request)
}

pub(super) async fn shard_stock(service: Arc<OrdersService>, request: Request) -> Response {
    let split = async {
        let sku = sku_of(&request)?;
        let body: ShardStock = strict_from_slice(&request.body).map_err(|e| unreadable(&e))?;
        service.stock.shard(&sku, body.peak_per_second).await.map_err(|e| stock_problem(&service, e))?;
        view(&service, &sku).await
    };
    answer(split.await, &request)
}

pub(super) async fn show_order(service: Arc<OrdersService>, request: Request) -> Response {
    let shown = async { operator_order(&service, &service.load(&order_of(&request)?).await?) };
    answer(shown.await, &request)
}

pub(super) async fn cancel_order(service: Arc<OrdersService>, request: Request) -> Response {
    let cancelled = async {
        let id = order_of(&request)?;
        let done = service.bring_about(&id, Event::CancelledByStaff, Actor::Operator).await?;
        operator_order(&service, &done.order)
    };
    answer(cancelled.await, &request)
}

pub(super) async fn list_orders(service: Arc<OrdersService>, request: Request) -> Response {
    let listed = async {
        let limit = match request.query("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| (1..=MAX_LIMIT).contains(n))
                .ok_or_else(|| bad_parameter("limit", "1 to 100"))?,
        };
        let cursor = request.query("cursor");
        match request.query("user") {
            Some(user) => {
                let user: UserRef = user.parse().map_err(|_| bad_parameter("user", "a user id"))?;
                orders_of(&service, &service.ids.user_hash(GUEST_SCOPE, &user), limit, cursor).await
            }
            None => recent_orders(&service, limit, cursor).await,
        }
    };
    answer(listed.await, &request)
}

async fn view(service: &OrdersService, sku: &Sku) -> Answered<StockView> {
    let snapshot = service.directory.snapshot(sku).await.map_err(|e| service.problem(&e.into()))?;
    let snapshot = snapshot.ok_or_else(|| no_stock(sku))?;
    let mut view = shard::view(sku, &snapshot.shards());
    view.shards = u32::from(snapshot.layout.active);
    Ok(view)
}

/// The user's orders, in the order of their ids.
async fn orders_of(service: &OrdersService, user: &UserHash, limit: u32, cursor: Option<&str>) -> Answered<OrderPage> {
    let pk = keys::user(user);
    let mut position = cursor.map(|text| Cursor(text.as_bytes().to_vec().into()));
    let mut data = Vec::new();
    loop {
        let page = service.table.query(&pk, SkRange::Prefix(b"O#"[..].into()), MAX_LIMIT, false, position).await;
        let page = page.map_err(|error| match error {
            zizon_table::ReadError::Invalid(_) => bad_parameter("cursor", "`next_cursor` of the page before"),
            error => service.problem(&error.into()),
        })?;
        for item in &page.items {
            let Some(Named::Order(id)) = keys::named(&item.key) else { continue };
            if data.len() == limit as usize {
                // The page ends before this order: just after everything that begins with the last one shown.
                let after = last_key_of(data.last().map(|order: &OperatorOrder| order.order.id.as_str()));
                return Ok(OrderPage { data, next_cursor: after });
            }
            if let Some(order) = load(&*service.table, &id).await.map_err(|e| service.problem(&e))? {
                data.push(operator_order(service, &order)?);
            }
        }
        match page.next {
            Some(next) => position = Some(next),
            None => return Ok(OrderPage { data, next_cursor: None }),
        }
    }
}

/// A sort key after an order and all its facts, and before the next order.
fn last_key_of(id: Option<&str>) -> Option<String> {
    let id: OrderId = id?.parse().ok()?;
    Some(format!("O#{}#~", id.local()))
}

/// Orders by age, the youngest first; the cursor is a position in the feed.
async fn recent_orders(service: &OrdersService, limit: u32, cursor: Option<&str>) -> Answered<OrderPage> {
    let mut end = match cursor {
        None => service.executor.last_seq() + 1,
        Some(text) => text.parse().map_err(|_| bad_parameter("cursor", "`next_cursor` of the page before"))?,
    };
    let mut data = Vec::new();
    for _ in 0..MAX_WINDOWS {
        let start = end.saturating_sub(WINDOW).max(1);
        let mut found = placed_between(service, start, end).await?;
        while let Some((seq, id)) = found.pop() {
            if let Some(order) = load(&*service.table, &id).await.map_err(|e| service.problem(&e))? {
                data.push(operator_order(service, &order)?);
            }
            if data.len() == limit as usize {
                return Ok(OrderPage { data, next_cursor: Some(seq.to_string()) });
            }
        }
        if start == 1 {
            return Ok(OrderPage { data, next_cursor: None });
        }
        end = start;
    }
    Ok(OrderPage { data, next_cursor: Some(end.to_string()) })
}

/// Orders placed at positions `start..end` of the feed, in that order.
async fn placed_between(service: &OrdersService, start: u64, end: u64) -> Answered<Vec<(u64, OrderId)>> {
    let mut found = Vec::new();
    let mut next = Seq(start);
    while next.0 < end {
        let changes =
            service.table.changes(ShardId::ONLY, next, 1_024).await.map_err(|e| service.problem(&e.into()))?;
        let Some(last) = changes.last() else { break };
        next = last.seq.next();
        for change in changes.iter().filter(|change| change.seq.0 < end) {
            let placed = change.new.as_ref().is_some_and(|item| item.str(keys::STATUS) == Some(keys::PLACED));
            if let (true, Some(Named::Order(id))) = (placed, keys::named(&change.key)) {
                found.push((change.seq.0, id));
            }
        }
    }
    Ok(found)
}

fn operator_order(service: &OrdersService, loaded: &LoadedOrder) -> Answered<OperatorOrder> {
    let bytes = render(&loaded.id, &loaded.document, loaded.state, &service.ids);
    let mut order: OrderBody = serde_json::from_slice(&bytes).map_err(|_| Problem::new(Code::Internal))?;
    // Whoever runs the shop does not need the shopper's key to it.
    order.access_token = None;
    let personal = service.personal(loaded)?;
    let facts = loaded.facts.iter().map(|fact| OrderFact {
        version: fact.version,
        event: fact.event.name().to_owned(),
        at: fact.at.to_rfc3339(),
        actor: fact.actor.name().to_owned(),
    });
    let personal_data_erased = personal.is_none();
    let personal = personal.unwrap_or_default();
    Ok(OperatorOrder {
        order,
        facts: facts.collect(),
        note: personal.note,
        shipping_address: personal.shipping_address,
        personal_data_erased,
    })
}

fn sku_of(request: &Request) -> Answered<Sku> {
    let sku = request.params.get("sku").and_then(|text| text.parse().ok());
    sku.ok_or_else(|| Box::new(Problem::new(Code::NotFound).detail("this is no product id")))
}

fn order_of(request: &Request) -> Answered<OrderId> {
    let id = request.params.get("id").and_then(|text| text.parse().ok());
    id.ok_or_else(|| Box::new(Problem::new(Code::NotFound).detail("this is no order id")))
}

fn no_stock(sku: &Sku) -> Box<Problem> {
    Box::new(Problem::new(Code::NotFound).detail(format!("{sku} has no stock; put some in with `zizon stock set`")))
}

fn unreadable(error: &zizon_base::json::JsonError) -> Box<Problem> {
    Box::new(Problem::new(Code::MalformedRequest).detail(error.to_string()))
}

fn bad_parameter(name: &'static str, rule: &str) -> Box<Problem> {
    Box::new(Problem::new(Code::InvalidParameter).field(FieldError::new(name, "invalid").detail(rule)))
}

fn stock_problem(service: &OrdersService, error: StockError) -> Box<Problem> {
    match error {
        StockError::Unknown => Box::new(
            Problem::new(Code::NotFound).detail("no stock of this product yet; put some in with `zizon stock set`"),
        ),
        StockError::OutOfRange => {
            let place = FieldError::new("#/available", "out-of-range").detail(error.to_string());
            Box::new(Problem::new(Code::InvalidQuantity).field(place))
        }
        StockError::Contended => Box::new(Problem::new(Code::Overloaded).detail(error.to_string())),
        StockError::Write(error) => service.problem(&error.into()),
        StockError::Read(error) => service.problem(&error.into()),
    }
}
