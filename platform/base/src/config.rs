//! What is wrong with a value of the configuration, said once for all roles.

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{key} {problem}; {remedy}")]
pub struct ConfigError {
    /// Section of the file.
    pub section: &'static str,
    /// Key within the section.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigError {
    /// The whole key, `section.key`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// A numeric key, its value, and the least and most it may be.
pub type Range = (&'static str, u64, u64, u64);

/// Checks that every value is within its range.
///
/// # Errors
/// The first that is not.
pub fn within(section: &'static str, ranges: &[Range]) -> Result<(), ConfigError> {
    let Some(&(key, value, least, most)) =
        ranges.iter().find(|(_, value, least, most)| !(least..=most).contains(&value))
    else {
        return Ok(());
    };
    let remedy = format!("set it between {least} and {most}");
    Err(ConfigError { section, key, problem: format!("is {value}"), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_out_of_range_is_named_with_its_remedy() {
        let ranges = [("a", 1, 1, 3), ("b", 0, 1, 3), ("c", 9, 1, 3)];
        let error = within("orders", &ranges).unwrap_err();
        assert_eq!(error.to_string(), "orders.b is 0; set it between 1 and 3");
        assert_eq!(error.path(), "orders.b");
        assert_eq!(within("orders", &ranges[..1]), Ok(()));
    }
}
