//! `zizon product`.

use std::{io::Read, path::Path, process::ExitCode};

use anyhow::Result;
use http::Method;
use zizon_base::{market::Market, money::Money, role::Role};
use zizon_contracts::catalog::{Product as ProductBody, ProductPage};

use super::{
    bulk::{Placed, put_lines},
    local::block_on,
    operator::{NOTHING, Operator, encode},
};
use crate::{
    cli::{Local, Product},
    exit::Failure,
    output::{self, Style, Table, grouped},
};

/// Where to see what a product's document looks like.
const SHAPE: &str = "zizon product show PROD001 --json prints a product in the right shape";

/// Shows or changes products.
pub fn run(command: Product) -> Result<ExitCode> {
    match command {
        Product::Ls(local) => block_on(list(&local))?,
        Product::Show { id, local } => {
            let product: ProductBody = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                operator.call(Role::Catalog, Method::GET, &format!("/internal/v1/products/{id}"), NOTHING).await
            })?;
            show(&product, &local)?;
        }
        Product::Put { file, lines: true, local } => {
            let place =
                |product: ProductBody| Placed { path: format!("/internal/v1/products/{}", product.id), body: product };
            block_on(put_lines(&local, Role::Catalog, &file, SHAPE, place))?;
        }
        Product::Put { file, lines: false, local } => {
            let product = read(&file)?;
            let stored: ProductBody = block_on(async {
                let operator = Operator::connect(&local.data).await?;
                let path = format!("/internal/v1/products/{}", product.id);
                operator.call(Role::Catalog, Method::PUT, &path, Some(&product)).await
            })?;
            show(&stored, &local)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(local: &Local) -> Result<()> {
    let operator = Operator::connect(&local.data).await?;
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut path = "/internal/v1/products?limit=100".to_owned();
        if let Some(cursor) = &cursor {
            path.push_str("&cursor=");
            path.push_str(&encode(cursor));
        }
        let page: ProductPage = operator.call(Role::Catalog, Method::GET, &path, NOTHING).await?;
        all.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if local.json {
        return output::json(&ProductPage { data: all, next_cursor: None });
    }
    let mut table = Table::new(&["id", "brand", "category", "KRW", "JPY", "USD", "name"], &[3, 4, 5]);
    for product in &all {
        let mut row = vec![
            (product.id.to_string(), Some(Style::Bold)),
            (product.brand.clone(), None),
            (product.category.clone(), None),
        ];
        row.extend(Market::ALL.into_iter().map(|market| (price(product, market), None)));
        row.push((product.name.get("ko").cloned().unwrap_or_default(), (!product.published).then_some(Style::Dim)));
        table.row(row);
    }
    output::line(table.render().trim_end());
    output::line(&format!("\n{} products", all.len()));
    Ok(())
}

fn price(product: &ProductBody, market: Market) -> String {
    let money = product.prices.get(&market).and_then(|&amount| Money::new(amount, market.currency()).ok());
    money.map_or_else(|| "-".to_owned(), |money| grouped(&money.to_string().split_off(4)))
}

fn show(product: &ProductBody, local: &Local) -> Result<()> {
    if local.json {
        return output::json(product);
    }
    output::line(&format!(
        "{}  {}  {}",
        output::paint(product.id.as_str(), Style::Bold),
        product.brand,
        product.category
    ));
    for (language, name) in &product.name {
        output::line(&format!("  {language}  {name}"));
        if let Some(description) = product.description.get(language) {
            output::line(&format!("      {}", output::paint(description, Style::Dim)));
        }
    }
    for market in Market::ALL {
        output::line(&format!("  {market}  {:>12}  {}", price(product, market), market.currency()));
    }
    if !product.published {
        output::line(&output::paint("  not published", Style::Yellow));
    }
    Ok(())
}

fn read(file: &Path) -> Result<ProductBody> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(1024 * 1024).read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(
                format!("cannot read {}: {error}", file.display()),
                "name a JSON file, or - for standard input",
            )
        })?
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", file.display()), SHAPE).into())
}
