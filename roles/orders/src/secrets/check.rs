//! The secrets are the ones that what is stored was made with.

use std::path::Path;

use zizon_table::{Cond, Durability, Item, Op, Table, Value, WriteError};

use super::check_value;
use crate::error::RunError;
use crate::execute::ExecuteError;
use crate::keys;

/// Compares each secret with its stored check value, and stores what is not there yet.
///
/// # Errors
/// A secret is another one, or the table cannot be used.
pub async fn confirm(
    table: &dyn Table,
    keys_dir: &Path,
    secrets: &[(&'static str, &[u8; 32])],
) -> Result<(), RunError> {
    let key = keys::secrets();
    let stored = table.get(&key).await.map_err(|error| RunError::KeyCheck(error.into()))?;
    let mut wanted = Item::new(key);
    for (name, secret) in secrets {
        let value = Value::from(check_value(name, secret).to_vec());
        let known = stored.as_ref().and_then(|item| item.get(attribute(name)));
        if known.is_some_and(|known| *known != value) {
            return Err(RunError::KeyOther { file: keys_dir.join(name) });
        }
        wanted = wanted.with(attribute(name), value);
    }
    if stored.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let put = Op::Put { item: wanted, cond: Cond::Always };
    match table.write(put, Durability::Durable).await {
        // They are stored by the first start that has room.
        Ok(_) | Err(WriteError::Full) => Ok(()),
        Err(error) => Err(RunError::KeyCheck(ExecuteError::from(error))),
    }
}

/// `ids.key` -> `ids`: attributes have no dots.
fn attribute(name: &'static str) -> &'static str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use zizon_table::MemTable;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_known_again_and_another_one_is_refused_by_name() {
        let table = MemTable::new();
        let dir = Path::new("/keys");
        let (one, two) = ([1; 32], [2; 32]);
        for _ in 0..2 {
            confirm(&table, dir, &[("ids.key", &one), ("personal.key", &two)]).await.unwrap();
        }
        let refused = confirm(&table, dir, &[("ids.key", &one), ("personal.key", &one)]).await.unwrap_err().to_string();
        assert!(refused.starts_with("/keys/personal.key is not the key"), "{refused}");
        let refused = confirm(&table, dir, &[("ids.key", &two), ("personal.key", &two)]).await.unwrap_err().to_string();
        assert!(refused.starts_with("/keys/ids.key is not the key"), "{refused}");
        assert_ne!(check_value("ids.key", &one), check_value("personal.key", &one));
    }
}
