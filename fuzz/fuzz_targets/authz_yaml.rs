//! An authorisation policy from anywhere: refused or strict, never a panic, and never more than it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zizon_base::role::Role;
use zizon_mtls::authz::{Decision, Policy};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let domain = "zizon.local".parse().expect("a trust domain");
    let Ok(policy) = Policy::from_yaml(text, &domain) else { return };
    let stranger = domain.workload("ns/nowhere/sa/nobody").expect("an identity");
    for role in Role::ALL {
        // A policy that does not name the stranger cannot let it in.
        let decision = policy.decide(role, &stranger, "GET", "/metrics");
        if !text.contains("nowhere") {
            assert!(matches!(decision, Decision::Deny { .. }));
        }
    }
});
