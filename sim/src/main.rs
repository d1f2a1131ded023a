//! x
fn main() {
    let mut args = std::env::args().skip(1);
    let from: u64 = args.next().unwrap().parse().unwrap();
    let to: u64 = args.next().unwrap().parse().unwrap();
    let flaw = args.next().filter(|f| f != "-").map(|f| f.parse::<zizon_sim::Flaw>().unwrap());
    let trace = args.next().is_some();
    if trace {
        let mut o = zizon_sim::Options::seed(from); o.flaw = flaw; o.trace = true;
        let out = zizon_sim::run(&o);
        for l in &out.lines { println!("{l}"); }
        println!("{:?} {:x} {:?}", out.violated, out.hash, out.stats);
        return;
    }
    let t = std::time::Instant::now();
    let h = zizon_sim::Hunt { flaw, jobs: 2, ..zizon_sim::Hunt::sound(from..to) };
    println!("{:#?} {:?}", zizon_sim::sweep(&h, &|_| true), t.elapsed());
}
