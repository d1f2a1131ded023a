//! `zizon order`.

use std::process::ExitCode;

use anyhow::Result;
use http::Method;
use zizon_base::{
    ids::UserRef,
    money::{Currency, Money},
    role::Role,
};
use zizon_contracts::orders::{OperatorOrder, OrderPage};

use super::{
    local::block_on,
    operator::{NOTHING, Operator, encode},
};
use crate::{
    cli::{Local, Order},
    output::{self, Style, Table, grouped, plain},
};

/// Shows or cancels orders.
pub fn run(command: Order) -> Result<ExitCode> {
    match command {
        Order::Show { id, local } => {
            let order: OperatorOrder = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                operator.call(Role::Orders, Method::GET, &format!("/internal/v1/orders/{id}"), NOTHING).await
            })?;
            show(&order, &local)?;
        }
        Order::Cancel { id, local } => {
            let order: OperatorOrder = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                operator.call(Role::Orders, Method::POST, &format!("/internal/v1/orders/{id}/cancel"), NOTHING).await
            })?;
            show(&order, &local)?;
        }
        Order::Ls { user, limit, cursor, local } => {
            let page = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                pages(&operator, user.as_ref(), limit, cursor).await
            })?;
            list(&page, user.as_ref(), &local)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Most requests for one list: a page may be empty and still go on.
const MAX_PAGES: usize = 40;
/// Most orders the role answers with at once.
const PAGE: usize = 100;

async fn pages(operator: &Operator, user: Option<&UserRef>, limit: u32, cursor: Option<String>) -> Result<OrderPage> {
    let mut all = OrderPage { data: Vec::new(), next_cursor: cursor };
    for _ in 0..MAX_PAGES {
        let left = usize::try_from(limit)?.saturating_sub(all.data.len());
        let mut path = format!("/internal/v1/orders?limit={}", left.min(PAGE));
        for (name, value) in [("user", user.map(UserRef::as_str)), ("cursor", all.next_cursor.as_deref())] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        let page: OrderPage = operator.call(Role::Orders, Method::GET, &path, NOTHING).await?;
        all.data.extend(page.data);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() || all.data.len() >= usize::try_from(limit)? {
            break;
        }
    }
    Ok(all)
}

fn amount(minor_units: i64, currency: &str) -> String {
    let money = Currency::from_code(currency).and_then(|currency| Money::new(minor_units, currency).ok());
    grouped(&money.map_or_else(|| minor_units.to_string(), |money| money.to_string()))
}

/// An RFC 3339 moment to the second, for people.
fn moment(rfc3339: &str) -> String {
    let (second, _) = rfc3339.split_once('.').unwrap_or((rfc3339.trim_end_matches('Z'), ""));
    format!("{}Z", second.replace('T', " "))
}

fn status_style(status: &str) -> Style {
    match status {
        "pending_payment" => Style::Yellow,
        "cancelled" | "expired" => Style::Red,
        _ => Style::Green,
    }
}

fn list(page: &OrderPage, user: Option<&UserRef>, local: &Local) -> Result<()> {
    if local.json {
        return output::json(page);
    }
    let mut table = Table::new(&["created", "number", "status", "lines", "total", "user", "id"], &[3, 4]);
    for OperatorOrder { order, .. } in &page.data {
        table.row(vec![
            (moment(&order.created_at), None),
            (order.number.clone(), Some(Style::Bold)),
            (order.status.clone(), Some(status_style(&order.status))),
            (order.items.len().to_string(), None),
            (amount(order.totals.total, &order.currency), None),
            (order.user_id.clone(), None),
            (order.id.clone(), Some(Style::Dim)),
        ]);
    }
    if page.data.is_empty() {
        output::line("no orders");
    } else {
        output::line(table.render().trim_end());
    }
    if let Some(cursor) = &page.next_cursor {
        let user = user.map_or_else(String::new, |user| format!(" --user {user}"));
        output::line(&output::paint(
            &format!("more: zizon order ls{user} --data '{}' --cursor {cursor}", local.data.display()),
            Style::Dim,
        ));
    }
    Ok(())
}

fn show(view: &OperatorOrder, local: &Local) -> Result<()> {
    if local.json {
        return output::json(view);
    }
    let order = &view.order;
    output::line(&format!(
        "{}  {}  {}  {}",
        output::paint(&order.number, Style::Bold),
        output::paint(&order.status, status_style(&order.status)),
        order.payment_status,
        order.fulfillment_status
    ));
    output::line(&format!("  {}", order.id));
    output::line(&format!("  user {}  market {}  created {}", order.user_id, order.market, moment(&order.created_at)));
    let mut table = Table::new(&["line", "sku", "quantity", "unit price", "subtotal", "name"], &[0, 2, 3, 4]);
    for item in &order.items {
        table.row(vec![
            (item.line.to_string(), None),
            (item.sku.clone(), None),
            (item.quantity.to_string(), None),
            (amount(item.unit_price, &order.currency), None),
            (amount(item.subtotal, &order.currency), None),
            (item.name.clone(), None),
        ]);
    }
    output::line(table.render().trim_end());
    output::line(&format!("  total {}", amount(order.totals.total, &order.currency)));
    for fact in &view.facts {
        output::line(&format!("  {}  {} by {}", moment(&fact.at), fact.event.replace('_', " "), fact.actor));
    }
    if view.personal_data_erased {
        output::line(&output::paint("  personal data erased", Style::Dim));
    }
    if let Some(note) = &view.note {
        output::line(&format!("  note: {}", plain(note)));
    }
    if let Some(address) = &view.shipping_address {
        output::line(&format!(
            "  to: {}, {} {}, {}",
            plain(&address.recipient),
            plain(&address.postal_code),
            plain(&address.city),
            plain(&address.country)
        ));
    }
    Ok(())
}
