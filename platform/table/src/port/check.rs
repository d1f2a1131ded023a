//! What every implementation refuses in the same words.

use super::{ShardId, Token};
use crate::model::error::{ReadError, WriteError};
use crate::model::key::Key;
use crate::model::limits::{MAX_GET_MANY, MAX_PK_BYTES, MAX_TOKEN_BYTES};

pub(crate) fn check_key(key: &Key) -> Result<(), ReadError> {
    key.problem().map_or(Ok(()), |problem| Err(ReadError::Invalid(problem)))
}

pub(crate) fn check_keys(keys: &[Key]) -> Result<(), ReadError> {
    if keys.len() > MAX_GET_MANY {
        return Err(ReadError::Invalid(format!("{} keys at once, allowed are {MAX_GET_MANY}", keys.len())));
    }
    keys.iter().try_for_each(check_key)
}

pub(crate) fn check_pk(pk: &[u8]) -> Result<(), ReadError> {
    if pk.is_empty() || pk.len() > MAX_PK_BYTES {
        return Err(ReadError::Invalid(format!("partition key has {} bytes", pk.len())));
    }
    Ok(())
}

pub(crate) fn check_shard(shard: ShardId) -> Result<(), ReadError> {
    if shard == ShardId::ONLY { Ok(()) } else { Err(ReadError::Invalid(format!("no feed shard {}", shard.0))) }
}

pub(crate) fn check_token(token: Option<&Token>) -> Result<(), WriteError> {
    match token {
        Some(Token(name)) if name.is_empty() || name.len() > MAX_TOKEN_BYTES => {
            Err(WriteError::Invalid(format!("a token has 1 to {MAX_TOKEN_BYTES} bytes, not {}", name.len())))
        }
        _ => Ok(()),
    }
}
