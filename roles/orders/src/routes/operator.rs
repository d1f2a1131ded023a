//! What operators see and do.

use std::sync::Arc;
use std::time::Duration;

use zizon_base::ids::{OrderId, Sku};
use zizon_base::json::strict_from_slice;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::orders::{OperatorOrder, OrderBody, OrderFact, SetStock, ShardStock, StockView};
use zizon_service::{Request, Response};

use super::answer;
use crate::execute::LoadedOrder;
use crate::order::fact::Actor;
use crate::order::render::render;
use crate::order::state::Event;
use crate::service::OrdersService;
use crate::stock::operator::MAX_UNITS;
use crate::stock::operator::StockError;
use crate::stock::shard;

pub(super) type Answered<T> = Result<T, Box<Problem>>;

pub(super) async fn show_stock(service: Arc<OrdersService>, request: Request) -> Response {
    let shown = async { view(&service, &sku_of(&request)?).await };
    answer(shown.await, &request)
}

pub(super) async fn set_stock(service: Arc<OrdersService>, request: Request) -> Response {
    let set = async {
        let sku = sku_of(&request)?;
        let body: SetStock = strict_from_slice(&request.body).map_err(|e| unreadable(&e))?;
        known(&service, &sku).await?;
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

/// How long a product may take from catalog to this role.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Stock is put in for products that catalog has, or that have stock already: a mistyped id is no product.
async fn known(service: &OrdersService, sku: &Sku) -> Answered<()> {
    let seen = async {
        // A product that was just put into the catalog is on its way here.
        while service.prices.get(sku).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let stocked = service.directory.snapshot(sku).await.map_err(|e| service.problem(&e.into()))?.is_some();
    if stocked || tokio::time::timeout(SEEN_WITHIN, seen).await.is_ok() {
        return Ok(());
    }
    if !service.prices_confirmed().0 {
        let detail = format!("whether there is a product {sku} is not known: the catalog does not answer at present");
        return Err(Box::new(Problem::new(Code::UpstreamUnavailable).detail(detail)));
    }
    let detail = format!("the catalog has no product {sku}; put it in first with `zizon product put`");
    Err(Box::new(Problem::new(Code::UnknownProduct).detail(detail)))
}

async fn view(service: &OrdersService, sku: &Sku) -> Answered<StockView> {
    let snapshot = service.directory.snapshot(sku).await.map_err(|e| service.problem(&e.into()))?;
    let snapshot = snapshot.ok_or_else(|| no_stock(sku))?;
    let mut view = shard::view(sku, &snapshot.shards());
    view.shards = u32::from(snapshot.layout.active);
    Ok(view)
}

pub(super) fn operator_order(service: &OrdersService, loaded: &LoadedOrder) -> Answered<OperatorOrder> {
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

pub(super) fn bad_parameter(name: &'static str, rule: &str) -> Box<Problem> {
    Box::new(Problem::new(Code::InvalidParameter).field(FieldError::new(name, "invalid").detail(rule)))
}

fn stock_problem(service: &OrdersService, error: StockError) -> Box<Problem> {
    match error {
        StockError::Unknown => Box::new(
            Problem::new(Code::NotFound).detail("no stock of this product yet; put some in with `zizon stock set`"),
        ),
        StockError::OutOfRange => {
            let place = FieldError::new("#/available", "out-of-range").detail(error.to_string());
            let said = format!("stock is a whole number from 0 to {MAX_UNITS}");
            Box::new(Problem::new(Code::InvalidParameter).detail(said).field(place))
        }
        StockError::Contended => Box::new(Problem::new(Code::Overloaded).detail(error.to_string())),
        StockError::Write(error) => service.problem(&error.into()),
        StockError::Read(error) => service.problem(&error.into()),
    }
}
