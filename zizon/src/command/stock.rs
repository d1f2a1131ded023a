//! `zizon stock`.

use std::process::ExitCode;

use anyhow::Result;
use http::Method;
use serde::Deserialize;
use zizon_base::{ids::Sku, role::Role};
use zizon_contracts::orders::{SetStock, ShardStock, StockView};

use super::{
    bulk::{Placed, put_lines},
    local::block_on,
    operator::{NOTHING, Operator},
};
use crate::{
    cli::{Local, Stock},
    output::{self, Style, Table, grouped},
};

/// A line of `zizon stock put`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: Sku,
    available: i64,
}

/// Shows or changes stock.
pub fn run(command: Stock) -> Result<ExitCode> {
    let (view, local) = match command {
        Stock::Show { sku, local } => {
            let view = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                operator.call(Role::Orders, Method::GET, &format!("/internal/v1/stock/{sku}"), NOTHING).await
            })?;
            (view, local)
        }
        Stock::Set { sku, available, local } => {
            let view = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                let body = SetStock { available };
                operator.call(Role::Orders, Method::PUT, &format!("/internal/v1/stock/{sku}"), Some(&body)).await
            })?;
            (view, local)
        }
        Stock::Put { file, local } => {
            let place = |line: Line| Placed {
                path: format!("/internal/v1/stock/{}", line.sku),
                body: SetStock { available: line.available },
            };
            let shape = "write {\"sku\": \"PROD001\", \"available\": 500} on each line";
            block_on(put_lines(&local, Role::Orders, &file, shape, place))?;
            return Ok(ExitCode::SUCCESS);
        }
        Stock::Shard { sku, peak, local } => {
            let view = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                let body = ShardStock { peak_per_second: peak };
                operator
                    .call(Role::Orders, Method::POST, &format!("/internal/v1/stock/{sku}/shards"), Some(&body))
                    .await
            })?;
            (view, local)
        }
    };
    show(&view, &local)?;
    Ok(ExitCode::SUCCESS)
}

fn show(view: &StockView, local: &Local) -> Result<()> {
    if local.json {
        return output::json(view);
    }
    let mut table = Table::new(&["sku", "on hand", "available", "held", "sold", "shards"], &[1, 2, 3, 4, 5]);
    table.row(vec![
        (view.sku.clone(), Some(Style::Bold)),
        (grouped(&view.on_hand.to_string()), None),
        (grouped(&view.available.to_string()), Some(if view.available > 0 { Style::Green } else { Style::Red })),
        (grouped(&view.held.to_string()), None),
        (grouped(&view.sold.to_string()), None),
        (view.shards.to_string(), None),
    ]);
    output::line(table.render().trim_end());
    Ok(())
}
