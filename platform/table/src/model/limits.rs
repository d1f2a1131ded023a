//! Bounds of the port. Where DynamoDB has a bound, ours is the same or tighter, so that a plan accepted by
//! the embedded engine is accepted there.

/// Longest partition key, bytes (DynamoDB).
pub const MAX_PK_BYTES: usize = 2_048;
/// Longest sort key, bytes (DynamoDB).
pub const MAX_SK_BYTES: usize = 1_024;
/// Largest item, bytes in the encoding of [`crate::codec`] (DynamoDB: 400 KB including names).
pub const MAX_ITEM_BYTES: usize = 400 * 1_024;
/// Most operations of one plan (DynamoDB `TransactWriteItems`).
pub const MAX_PLAN_OPS: usize = 100;
/// Largest sum of the encoded effects of one plan, bytes.
pub const MAX_PLAN_BYTES: usize = 3 * 1_024 * 1_024;
/// Longest attribute name or map key, bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Most attributes of one item.
pub const MAX_ATTRS: usize = 256;
/// Deepest nesting of maps and lists in an attribute (the attribute itself is depth 1).
pub const MAX_DEPTH: usize = 8;
/// Deepest nesting of `All` and `Any` in a condition, and most leaves in it.
pub const MAX_COND_DEPTH: usize = 8;
/// Most leaves of one condition.
pub const MAX_COND_LEAVES: usize = 256;
/// Most patches in one `Patch` operation.
pub const MAX_PATCHES: usize = 256;
/// Most items a page of a query carries, whatever its limit says.
pub const MAX_PAGE_ITEMS: u32 = 1_000;
/// A page ends after the item that brings it over this many encoded bytes (DynamoDB: 1 MB).
pub const MAX_PAGE_BYTES: usize = 1_024 * 1_024;
/// Most keys of one `get_many`.
pub const MAX_GET_MANY: usize = 1_024;
/// Most changes one call of the feed returns, except that a plan is never split.
pub const MAX_CHANGES: u32 = 4_096;
/// One call of the feed ends after the plan that brings it over this many encoded bytes.
pub const MAX_CHANGES_BYTES: usize = 4 * 1_024 * 1_024;
/// Longest idempotency token of a plan, bytes (DynamoDB `ClientRequestToken`).
pub const MAX_TOKEN_BYTES: usize = 36;
