//! `zizon order`.

use std::process::ExitCode;

use anyhow::Result;
use http::Method;
use zizon_base::{
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
    output::{self, Style, Table},
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
        Order::Ls { user, limit, local } => {
            let page: OrderPage = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                let mut path = format!("/internal/v1/orders?limit={limit}");
                if let Some(user) = &user {
                    path.push_str("&user=");
                    path.push_str(&encode(user.as_str()));
                }
                operator.call(Role::Orders, Method::GET, &path, NOTHING).await
            })?;
            list(&page, &local)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn amount(minor_units: i64, currency: &str) -> String {
    let money = Currency::from_code(currency).and_then(|currency| Money::new(minor_units, currency).ok());
    money.map_or_else(|| minor_units.to_string(), |money| money.to_string())
}

fn status_style(status: &str) -> Style {
    match status {
        "pending_payment" => Style::Yellow,
        "cancelled" | "expired" => Style::Red,
        _ => Style::Green,
    }
}

fn list(page: &OrderPage, local: &Local) -> Result<()> {
    if local.json {
        return output::json(page);
    }
    let mut table = Table::new(&["created", "number", "status", "lines", "total", "user", "id"], &[3, 4]);
    for OperatorOrder { order, .. } in &page.data {
        table.row(vec![
            (order.created_at.clone(), None),
            (order.number.clone(), Some(Style::Bold)),
            (order.status.clone(), Some(status_style(&order.status))),
            (order.items.len().to_string(), None),
            (amount(order.totals.total, &order.currency), None),
            (order.user_id.clone(), None),
            (order.id.clone(), Some(Style::Dim)),
        ]);
    }
    output::line(table.render().trim_end());
    if page.data.is_empty() {
        output::line("no orders");
    }
    if page.next_cursor.is_some() {
        output::line(&output::paint("more with a larger --limit", Style::Dim));
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
    output::line(&format!("  user {}  market {}  created {}", order.user_id, order.market, order.created_at));
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
        output::line(&format!("  {}  {} by {}", fact.at, fact.event, fact.actor));
    }
    if view.personal_data_erased {
        output::line(&output::paint("  personal data erased", Style::Dim));
    }
    if let Some(note) = &view.note {
        output::line(&format!("  note: {note}"));
    }
    if let Some(address) = &view.shipping_address {
        output::line(&format!(
            "  to: {}, {} {}, {}",
            address.recipient, address.postal_code, address.city, address.country
        ));
    }
    Ok(())
}
