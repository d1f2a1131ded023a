//! `zizon-sim model`.

use zizon_sim::model::{Bounds, Checked, Variant, check};

use super::End;
use super::show::{count, say};

/// Searches the sound protocol within every bound, then looks for a bound that refutes each broken one.
pub fn run(large: bool) -> End {
    let all = if large { Bounds::large() } else { Bounds::small() };
    let mut end = End::Held;
    say!("the protocol as it is\n  {:<62}{:>12}{:>7}{:>9}", "bounds", "states", "depth", "seconds");
    let mut happens = Vec::new();
    for bounds in &all {
        let checked = check(bounds);
        row(bounds.name, &checked);
        if let Some((property, steps)) = &checked.violated {
            say!("    violated: {property}\n      {}", steps.join("\n      "));
            end = End::Broken;
        }
        happens.extend(checked.happens);
    }
    let never: Vec<_> = Bounds::must_happen().into_iter().filter(|what| !happens.contains(what)).collect();
    if !never.is_empty() {
        say!("  NEVER HAPPENS: {}", never.join(", "));
        end = End::Broken;
    }
    say!("\nbroken on purpose\n  {:<62}{:>12}{:>7}{:>9}", "variant and what it violates", "states", "depth", "seconds");
    for variant in Variant::BROKEN {
        let refuted = all.iter().find_map(|bounds| {
            let checked = check(&Bounds { variant, ..bounds.clone() });
            checked.violated.clone().map(|violated| (violated, checked))
        });
        match refuted {
            Some(((property, _), checked)) => row(&format!("{:<20} {property}", variant.name()), &checked),
            None => {
                say!("  {:<20} NOT REFUTED", variant.name());
                end = End::Broken;
            }
        }
    }
    end
}

fn row(name: &str, checked: &Checked) {
    let (states, depth) = (checked.states as u64, checked.depth as u64);
    say!("  {name:<62}{:>12}{:>7}{:>9.1}", count(states), count(depth), checked.took.as_secs_f64());
}
