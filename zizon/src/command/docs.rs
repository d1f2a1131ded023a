//! `zizon docs`: what this binary can say about itself, for the files under docs/.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use schemars::schema_for;
use serde_json::{Map, Value};

use crate::{
    cli::{Cli, Document},
    config::Config,
    output, roles,
};

/// Writes the document to standard output.
pub fn run(document: Document) -> Result<ExitCode> {
    match document {
        Document::Configuration => output::line(configuration().trim_end()),
        Document::Cli => output::line(command_line().trim_end()),
        Document::Openapi => output::line(&roles::openapi_document()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// docs/configuration.md, from the types.
fn configuration() -> String {
    let schema = schema_for!(Config).to_value();
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut out = String::from(
        "# Configuration\n\nOne TOML file, named with `--config FILE`. Every key has a default; an unknown key, a wrong type or a value out of \
         range is refused with the file, the line, the key and what to do. This page is generated: `cargo xtask docs`.\n",
    );
    let sections = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, section) in &sections {
        let definition = resolve(section, &definitions);
        write_section(&mut out, name, &definition, defaults.get(name), &definitions);
    }
    out
}

fn write_section(
    out: &mut String,
    name: &str,
    schema: &Value,
    defaults: Option<&Value>,
    definitions: &Map<String, Value>,
) {
    out.push_str(&format!(
        "\n## `[{name}]`\n\n{}\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
        text(schema)
    ));
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut nested = Vec::new();
    for (key, property) in &properties {
        let definition = resolve(property, definitions);
        let default = defaults.and_then(|values| values.get(key));
        if definition.get("properties").is_some() {
            nested.push((format!("{name}.{key}"), definition, default.cloned()));
            continue;
        }
        let meaning = if text(property).is_empty() { text(&definition) } else { text(property) };
        let shown =
            default.filter(|value| !value.is_null()).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        out.push_str(&format!(
            "| `{key}` | {} | {shown} | {} |\n",
            type_name(&definition, definitions),
            meaning.replace('|', "\\|")
        ));
    }
    for (path, definition, default) in nested {
        write_section(out, &path, &definition, default.as_ref(), definitions);
    }
}

/// Follows a reference, also through the `anyOf` of an optional value.
fn resolve(schema: &Value, definitions: &Map<String, Value>) -> Value {
    if let Some(Value::String(reference)) = schema.get("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return definitions.get(name).cloned().unwrap_or_default();
    }
    let options = schema.get("anyOf").or_else(|| schema.get("allOf")).and_then(Value::as_array);
    if let Some(option) = options.and_then(|options| options.iter().find(|option| option.get("$ref").is_some())) {
        return resolve(option, definitions);
    }
    schema.clone()
}

fn text(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

fn type_name(schema: &Value, definitions: &Map<String, Value>) -> String {
    let values: Vec<String> = schema
        .get("oneOf")
        .or_else(|| schema.get("enum"))
        .and_then(Value::as_array)
        .map(|options| {
            let name = |option: &Value| {
                option.get("const").or(Some(option)).and_then(Value::as_str).map(|text| format!("`{text}`"))
            };
            options.iter().filter_map(name).collect()
        })
        .unwrap_or_default();
    if !values.is_empty() {
        return values.join(", ");
    }
    let one = |name: &str| match name {
        "integer" => "integer".to_owned(),
        "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => {
            let items = schema.get("items").map(|items| type_name(&resolve(items, definitions), definitions));
            format!("list of {}", items.unwrap_or_else(|| "values".to_owned()))
        }
        "object" => "table".to_owned(),
        _ => "text".to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => one(name),
        Some(Value::Array(names)) => {
            let known: Vec<_> =
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").map(one).collect();
            known.join(" or ")
        }
        _ => "text".to_owned(),
    }
}

/// docs/cli.md, from the command line's own definition.
fn command_line() -> String {
    let mut out = String::from("# Command line\n\nThis page is generated: `cargo xtask docs`.\n");
    let mut root = Cli::command().term_width(100);
    root.build();
    write_command(&mut out, &root, "");
    out
}

fn write_command(out: &mut String, command: &clap::Command, parent: &str) {
    let name =
        if parent.is_empty() { command.get_name().to_owned() } else { format!("{parent} {}", command.get_name()) };
    let help = command.clone().render_long_help().to_string();
    let text: Vec<&str> = help.lines().map(str::trim_end).collect();
    out.push_str(&format!("\n## `{name}`\n\n```\n{}\n```\n", text.join("\n").trim_end()));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_command(out, sub, &name);
    }
}
